// Writes plain data as YAML that people can read. For rules.mjs and tests/scenarios.mjs: objects, lists,
// strings and numbers, no more. Strings of several lines become blocks, long ones are quoted whole.

const PLAIN = /^[A-Za-z][\w /().%*-]*$/;
const scalar = (value) =>
  typeof value === 'string' && !(PLAIN.test(value) && !/^(true|false|yes|no|on|off|null)$/i.test(value))
    ? JSON.stringify(value)
    : String(value);

function lines(value) {
  if (Array.isArray(value)) {
    return value.flatMap((item) => lines(item).map((line, i) => (i === 0 ? '- ' : '  ') + line));
  }
  if (typeof value !== 'object') return [scalar(value)];
  return Object.entries(value).filter(([, inner]) => inner !== undefined).flatMap(([key, inner]) => {
    const name = /^[\w.-]+$/.test(key) ? key : JSON.stringify(key);
    if (typeof inner === 'string' && inner.includes('\n')) {
      return [`${name}: |-`, ...inner.split('\n').map((line) => (line ? `  ${line}` : ''))];
    }
    if (Array.isArray(inner) && inner.length === 0) return [`${name}: []`];
    if (typeof inner === 'object') return [`${name}:`, ...lines(inner).map((line) => `  ${line}`)];
    return [`${name}: ${scalar(inner)}`];
  });
}

export const yaml = (comment, data) =>
  `${comment.split('\n').map((line) => `# ${line}`).join('\n')}\n${lines(data).join('\n')}\n`;
