// What of k6's API this host has: for each module the names that it implements, and those that @types/k6 declares and
// that it does not. bundle.mjs makes the modules' import statements from it, vu.mjs their objects; the conformance test
// holds it against @types/k6. A name in `missing` is a function that fails and says which it is.

export const MODULES = {
  k6: { offered: ['check', 'fail', 'group', 'randomSeed', 'sleep'], missing: [] },
  'k6/encoding': { offered: ['b64decode', 'b64encode'], missing: [] },
  'k6/execution': { offered: ['instance', 'scenario', 'test', 'vu'], missing: [] },
  'k6/http': {
    offered: [
      ...['asyncRequest', 'batch', 'cookieJar', 'CookieJar', 'del', 'expectedStatuses', 'get', 'head', 'options', 'patch', 'post'],
      ...['put', 'request', 'setResponseCallback', 'url'],
      ...['SSL_3_0', 'TLS_1_0', 'TLS_1_1', 'TLS_1_2', 'TLS_1_3'],
      ...['OCSP_STATUS_GOOD', 'OCSP_STATUS_REVOKED', 'OCSP_STATUS_SERVER_FAILED', 'OCSP_STATUS_UNKNOWN'],
      ...['OCSP_REASON_AA_COMPROMISE', 'OCSP_REASON_AFFILIATION_CHANGED', 'OCSP_REASON_CA_COMPROMISE'],
      ...['OCSP_REASON_CERTIFICATE_HOLD', 'OCSP_REASON_CESSATION_OF_OPERATION', 'OCSP_REASON_KEY_COMPROMISE'],
      ...['OCSP_REASON_PRIVILEGE_WITHDRAWN', 'OCSP_REASON_REMOVE_FROM_CRL', 'OCSP_REASON_SUPERSEDED', 'OCSP_REASON_UNSPECIFIED'],
    ],
    missing: ['file', 'FileData'],
  },
  'k6/metrics': { offered: ['Counter', 'Gauge', 'Rate', 'Trend'], missing: ['Metric'] },
  'k6/timers': { offered: ['clearInterval', 'clearTimeout', 'setInterval', 'setTimeout'], missing: [] },
  'k6/websockets': { offered: ['Blob', 'WebSocket'], missing: [] },
};

/** What a script finds without importing it, beside the language's own. */
export const GLOBALS = [
  ...['__ENV', '__ITER', '__VU', 'console', 'open'],
  ...['clearInterval', 'clearTimeout', 'setInterval', 'setTimeout'],
];

/** The members of k6's objects that this host does not have: each is a method that fails and says which it is. */
export const MISSING_MEMBERS = { Response: ['clickLink', 'html', 'submitForm'] };

/** The options of a script that this host carries out, and those that change nothing here. Any other is an error. */
export const OPTIONS = {
  offered: [
    ...['discardResponseBodies', 'duration', 'handleSummaryTimeout', 'insecureSkipTLSVerify', 'iterations', 'maxRedirects'],
    ...['noConnectionReuse', 'noCookiesReset', 'scenarios', 'setupTimeout', 'stages', 'summaryTrendStats'],
    ...['tags', 'teardownTimeout', 'thresholds', 'throw', 'userAgent', 'vus'],
  ],
  ignored: ['cloud', 'ext', 'noUsageReport'],
};

/** A method that fails with a sentence that names it. */
export function missing(name, fail) {
  return function () {
    throw fail(`${name} is part of k6, but not of the host that runs this script: use k6, or do without it`);
  };
}
