// Images as tests send and fetch them.
import http from 'node:http';
import zlib from 'node:zlib';

export const KIB = 1024;
export const MIB = 1024 * KIB;

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length);
  body.copy(out, 4);
  out.writeUInt32BE(zlib.crc32(body), body.length + 4);
  return out;
}

/** A PNG that declares this size; `bytes` long, by a chunk that viewers skip. */
export function png({ width = 1, height = 1, bytes = 0, mark = 0 } = {}) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const pixels = chunk('IDAT', zlib.deflateSync(Buffer.alloc(4)));
  const start = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header)]);
  const end = Buffer.concat([pixels, chunk('IEND', Buffer.alloc(0))]);
  const filler = Math.max(bytes - start.length - end.length - 12, 1);
  return Buffer.concat([start, chunk('paDd', Buffer.alloc(filler, mark)), end]);
}

export const dataUrl = (bytes, type = 'image/png') => `data:${type};base64,${bytes.toString('base64')}`;

/** A GET, with its body as bytes. */
export function fetched(url) {
  return new Promise((resolve, reject) => {
    const sent = http.get(url, { agent: false, timeout: 10_000 }, (response) => {
      const chunks = [];
      response.on('data', (data) => chunks.push(data));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) }));
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer from ${url}`)));
    sent.on('error', reject);
  });
}
