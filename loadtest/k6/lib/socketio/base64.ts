// Base64, in which long-polling carries attachments. Pure; called by packets.ts.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The bytes as base64, padded. */
export function encodeBase64(bytes: Uint8Array): string {
    let text = "";
    for (let at = 0; at < bytes.length; at += 3) {
        const left = bytes.length - at;
        const three = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
        text += ALPHABET.charAt(three >> 18) + ALPHABET.charAt((three >> 12) & 63);
        text += left > 1 ? ALPHABET.charAt((three >> 6) & 63) : "=";
        text += left > 2 ? ALPHABET.charAt(three & 63) : "=";
    }
    return text;
}

/** The bytes of base64, padded or not; characters of another alphabet, such as line feeds, are skipped. */
export function decodeBase64(text: string): ArrayBuffer {
    const bytes: number[] = [];
    let bits = 0;
    let pending = 0;
    for (let at = 0; at < text.length; at++) {
        const value = ALPHABET.indexOf(text.charAt(at));
        if (value < 0) continue;
        pending = ((pending << 6) | value) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes.push((pending >> bits) & 255);
        }
    }
    return new Uint8Array(bytes).buffer;
}
