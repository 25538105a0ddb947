// Packets of Socket.IO (protocol 5) as the text and attachments that a transport carries. Pure; called by socket.ts and
// polling.ts.

/** The types of Socket.IO packets, by their digit. */
export const CONNECT = 0;
export const DISCONNECT = 1;
export const EVENT = 2;
export const ACK = 3;
export const CONNECT_ERROR = 4;
const BINARY_EVENT = 5;
const BINARY_ACK = 6;

/** Between the packets of one body of long-polling. */
export const SEPARATOR = "\x1e";

export interface Packet {
    /** EVENT and ACK also where the packet had attachments. */
    type: number;
    namespace: string;
    /** The id of the acknowledgement. */
    id: number | undefined;
    /** What the JSON holds; placeholders of attachments included until `insertAttachments`. */
    data: unknown;
    /** How many attachments follow. */
    attachments: number;
}

/** Whether a value is the bytes of an attachment. By its tag, because a value of another realm is no instance. */
function isBytes(value: object): value is ArrayBuffer | ArrayBufferView {
    return Object.prototype.toString.call(value) === "[object ArrayBuffer]" || ArrayBuffer.isView(value);
}

function toArrayBuffer(value: ArrayBuffer | ArrayBufferView): ArrayBuffer {
    if (!ArrayBuffer.isView(value)) return value;
    return value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength) as ArrayBuffer;
}

/** A copy of the value in which attachments are replaced by placeholders, and the attachments. */
function extractAttachments(value: unknown, found: ArrayBuffer[]): unknown {
    if (typeof value !== "object" || value === null) return value;
    if (isBytes(value)) {
        found.push(toArrayBuffer(value));
        return { _placeholder: true, num: found.length - 1 };
    }
    if (Array.isArray(value)) return value.map((item) => extractAttachments(item, found));
    const copy: Record<string, unknown> = {};
    for (const [name, item] of Object.entries(value)) copy[name] = extractAttachments(item, found);
    return copy;
}

/** The value with the attachments in the place of their placeholders. */
export function insertAttachments(value: unknown, attachments: ArrayBuffer[]): unknown {
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map((item) => insertAttachments(item, attachments));
    const fields = value as Record<string, unknown>;
    if (fields["_placeholder"] === true) return attachments[Number(fields["num"])];
    const copy: Record<string, unknown> = {};
    for (const [name, item] of Object.entries(fields)) copy[name] = insertAttachments(item, attachments);
    return copy;
}

/** The text of a packet, without the digit of Engine.IO, and the attachments that follow it. */
export function encode(
    type: number,
    namespace: string,
    data?: unknown,
    id?: number,
): { text: string; attachments: ArrayBuffer[] } {
    const attachments: ArrayBuffer[] = [];
    const plain = data === undefined ? undefined : extractAttachments(data, attachments);
    let text = String(type);
    if (attachments.length > 0) text = `${type === EVENT ? BINARY_EVENT : BINARY_ACK}${attachments.length}-`;
    if (namespace !== "/") text += `${namespace},`;
    if (id !== undefined) text += id;
    if (plain !== undefined) text += JSON.stringify(plain);
    return { text, attachments };
}

/** Reads the text of a packet, without the digit of Engine.IO. Throws where it is no packet. */
export function decode(text: string): Packet {
    let type = text.charCodeAt(0) - 48;
    if (!(type >= CONNECT && type <= BINARY_ACK)) throw new Error(`no Socket.IO packet: ${text.slice(0, 40)}`);
    let at = 1;
    let attachments = 0;
    if (type === BINARY_EVENT || type === BINARY_ACK) {
        const dash = text.indexOf("-");
        attachments = Number(text.slice(1, dash));
        if (dash < 2 || !Number.isInteger(attachments)) throw new Error(`no attachment count: ${text.slice(0, 40)}`);
        at = dash + 1;
        type = type === BINARY_EVENT ? EVENT : ACK;
    }
    let namespace = "/";
    if (text.charAt(at) === "/") {
        const comma = text.indexOf(",", at);
        const end = comma < 0 ? text.length : comma;
        namespace = text.slice(at, end);
        at = end + 1;
    }
    const digits = at;
    while (text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57) at++;
    const id = at > digits ? Number(text.slice(digits, at)) : undefined;
    const data: unknown = at < text.length ? JSON.parse(text.slice(at)) : undefined;
    return { type, namespace, id, data, attachments };
}
