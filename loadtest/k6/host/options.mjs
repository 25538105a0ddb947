// The options of a script, checked and completed: every scenario with all of its settings, durations in milliseconds
// beside k6's own notation. Called by run.mjs. An option that this host does not have is an error, and so is a setting
// that an executor does not know.
import { milliseconds } from './durations.mjs';
import { EXIT, HostError } from './errors.mjs';
import { OPTIONS } from './surface.mjs';

export const COMMON_SETTINGS = ['executor', 'exec', 'startTime', 'gracefulStop', 'env', 'tags', 'options'];
/** The settings of each executor, with the values they have where a scenario leaves them out. */
export const EXECUTOR_SETTINGS = {
  'constant-vus': { vus: 1, duration: undefined },
  'ramping-vus': { startVUs: 1, stages: undefined, gracefulRampDown: '30s' },
  'per-vu-iterations': { vus: 1, iterations: 1, maxDuration: '10m' },
  'shared-iterations': { vus: 1, iterations: 1, maxDuration: '10m' },
  'constant-arrival-rate': { rate: undefined, duration: undefined, timeUnit: '1s', preAllocatedVUs: undefined, maxVUs: 0 },
  'ramping-arrival-rate': { startRate: 0, stages: undefined, timeUnit: '1s', preAllocatedVUs: undefined, maxVUs: 0 },
};
const DURATIONS = ['startTime', 'gracefulStop', 'duration', 'gracefulRampDown', 'maxDuration', 'timeUnit'];
const NUMBERS = ['vus', 'startVUs', 'iterations', 'rate', 'startRate', 'preAllocatedVUs', 'maxVUs'];
export const SUMMARY_TREND_STATS = ['avg', 'min', 'med', 'max', 'p(90)', 'p(95)'];

const mistake = (text) => new HostError(EXIT.invalidConfig, text);

/** `{options, scenarios}`: the options as `exec.test.options` shows them, and the scenarios to run. */
export function consolidate(given, functions) {
  for (const name of Object.keys(given)) {
    if (OPTIONS.offered.includes(name) || OPTIONS.ignored.includes(name)) continue;
    throw mistake(`the option "${name}" is not part of the host that runs this script`);
  }
  const named = given.scenarios ?? { default: shortcut(given) };
  if (Object.keys(named).length === 0) throw mistake('scenarios: there is none');
  const scenarios = Object.entries(named).map(([name, scenario]) => scenarioOf(name, scenario, functions));
  const options = { summaryTrendStats: SUMMARY_TREND_STATS, ...given, scenarios: named };
  return { options, scenarios };
}

/** The scenario that `vus`, `duration`, `iterations` and `stages` outside of `scenarios` stand for. */
function shortcut({ vus = 1, duration, iterations, stages }) {
  if (stages) return { executor: 'ramping-vus', startVUs: vus, stages };
  if (iterations !== undefined) return { executor: 'shared-iterations', vus, iterations, ...(duration && { maxDuration: duration }) };
  if (duration !== undefined) return { executor: 'constant-vus', vus, duration };
  return { executor: 'per-vu-iterations', vus, iterations: 1 };
}

function scenarioOf(name, given, functions) {
  const where = (text) => mistake(`scenario ${name}: ${text}`);
  if (!/^[\w-]+$/.test(name)) throw where('a name has letters, digits, _ and -');
  const known = EXECUTOR_SETTINGS[given.executor];
  if (!known) throw where(`"${given.executor}" is no executor: ${Object.keys(EXECUTOR_SETTINGS).join(', ')}`);
  for (const key of Object.keys(given)) {
    if (!COMMON_SETTINGS.includes(key) && !(key in known)) throw where(`${given.executor} has no setting "${key}"`);
  }
  const scenario = { name, exec: 'default', startTime: 0, gracefulStop: '30s', env: {}, tags: {}, ...known, ...given };
  for (const [key, value] of Object.entries(scenario)) {
    if (value === undefined) throw where(`${given.executor} needs "${key}"`);
    if (DURATIONS.includes(key)) scenario[key] = duration(value, key, where);
    if (NUMBERS.includes(key) && !(Number.isInteger(value) && value >= 0)) throw where(`"${key}" is a whole number, not ${JSON.stringify(value)}`);
  }
  scenario.stages &&= stagesOf(scenario.stages, where);
  for (const key of ['vus', 'iterations', 'rate', 'preAllocatedVUs', 'timeUnit']) {
    if (scenario[key] === 0 && key !== 'preAllocatedVUs') throw where(`"${key}" is more than 0`);
  }
  if (scenario.executor === 'shared-iterations' && scenario.iterations < scenario.vus) throw where('there are fewer iterations than VUs');
  if (!functions.includes(scenario.exec)) throw where(`the script exports no function "${scenario.exec}"`);
  return Object.assign(scenario, extent(scenario));
}

function duration(value, key, where) {
  const ms = milliseconds(value);
  if (ms === undefined) throw where(`"${key}" is a duration, as "30s" is, not ${JSON.stringify(value)}`);
  return ms;
}

function stagesOf(stages, where) {
  if (!Array.isArray(stages) || stages.length === 0) throw where('"stages" is a list of {duration, target}');
  return stages.map(({ duration: length, target }) => {
    if (!(Number.isInteger(target) && target >= 0)) throw where(`the "target" of a stage is a whole number, not ${JSON.stringify(target)}`);
    return { duration: duration(length, 'duration', where), target };
  });
}

/** How long new iterations begin, and how many VUs that takes at first and at most. */
function extent({ duration: length, maxDuration, stages, vus, startVUs, preAllocatedVUs, maxVUs }) {
  const runsMs = length ?? maxDuration ?? stages.reduce((sum, stage) => sum + stage.duration, 0);
  const planned = vus ?? preAllocatedVUs ?? Math.max(startVUs, ...stages.map(({ target }) => target));
  return { runsMs, plannedVus: planned, maxVus: Math.max(planned, maxVUs ?? 0) };
}

/** The VUs that are needed at once, over all scenarios: those that do not overlap share them. */
export function vusAtOnce(scenarios) {
  const overlap = (at) => scenarios
    .filter(({ startTime, runsMs, gracefulStop }) => at >= startTime && at <= startTime + runsMs + gracefulStop)
    .reduce((sum, { plannedVus }) => sum + plannedVus, 0);
  return Math.max(...scenarios.map(({ startTime }) => overlap(startTime)));
}
