// Before a run: whether a Roomcast answers at the address, and takes a name. One clear line if not. Called by scenario.ts.

import http from "k6/http";
import exec from "k6/execution";
import type { Settings } from "./settings.ts";

const SEPARATOR = "\x1e";
const TIMEOUT = "15s";
/** The answer to the connect packet, and `welcome`, may come with different polls. */
const MAX_POLLS = 4;

/** Ends the run unless the server at `baseUrl` is a Roomcast that takes this name. */
export function probe({ baseUrl, token }: Settings, name: string): void {
    const problem = findProblem(baseUrl, token, name);
    if (problem !== undefined) exec.test.abort(`BASE_URL=${baseUrl}: ${problem}`);
}

function findProblem(baseUrl: string, token: string | undefined, name: string): string | undefined {
    const address = `${baseUrl}/socket.io/?EIO=4&transport=polling`;
    const tags = { name: "probe" };
    const get = (url: string) => http.get(url, { timeout: TIMEOUT, responseType: "text", tags });
    const post = (url: string, body: string) => http.post(url, body, { timeout: TIMEOUT, responseType: "text", tags });
    const opened = get(address);
    if (opened.status === 0) return `no answer (${opened.error})`;
    const open = /^0(\{[^\x1e]*"sid"[^\x1e]*\})/.exec(opened.body ?? "");
    if (opened.status !== 200 || !open) return `no Socket.IO server answers there (status ${opened.status})`;
    const session = `${address}&sid=${encodeURIComponent((JSON.parse(open[1] ?? "{}") as { sid: string }).sid)}`;
    const auth = { username: name, resume: `secret of ${name}`, ...(token ? { token } : {}) };
    const sent = post(session, `40/native,${JSON.stringify(auth)}`);
    if (sent.status !== 200) return `the connect packet was answered with status ${sent.status}`;
    for (let poll = 0; poll < MAX_POLLS; poll++) {
        const polled = get(session);
        if (polled.status !== 200) return `a poll was answered with status ${polled.status}`;
        for (const packet of (polled.body ?? "").split(SEPARATOR)) {
            if (packet.startsWith("44")) return refusal(packet, name);
            if (packet === "2") post(session, "3");
            if (!packet.startsWith('42/native,["welcome",')) continue;
            post(session, `41/native,${SEPARATOR}1`);
            return undefined;
        }
    }
    return "it is a Socket.IO server, but no Roomcast: it sends no welcome";
}

function refusal(packet: string, name: string): string {
    const at = packet.indexOf("{");
    const { message, data } = JSON.parse(at < 0 ? "{}" : packet.slice(at)) as {
        message?: string;
        data?: { code?: string; message?: string };
    };
    if (data?.code === undefined) return `it is a Socket.IO server, but no Roomcast: ${message}`;
    return `it refuses the user ${name}: ${data.code}: ${data.message}`;
}
