// `k6/encoding`: base64 in its four variants. Made by vu.mjs.

const url = (text) => text.replaceAll('+', '-').replaceAll('/', '_');
const raw = (text) => text.replace(/=+$/, '');
const VARIANTS = { std: (text) => text, rawstd: raw, url, rawurl: (text) => raw(url(text)) };

export function encodingModule(vu) {
  const variant = (name) => {
    if (Object.hasOwn(VARIANTS, name)) return VARIANTS[name];
    throw vu.error(`"${name}" is no variant of base64: ${Object.keys(VARIANTS).join(', ')}`);
  };
  return {
    b64encode: (input, encoding = 'std') => variant(encoding)(Buffer.from(input).toString('base64')),
    b64decode(input, encoding = 'std', format = '') {
      const bytes = Buffer.from(input, 'base64');
      if (variant(encoding)(bytes.toString('base64')) !== input) throw vu.error(`this is no base64 of the variant "${encoding}"`);
      return format === 's' ? bytes.toString() : vu.bytes(bytes);
    },
  };
}
