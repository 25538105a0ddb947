// The transport of HTTP long-polling: one poll and at most one POST at a time. Called by socket.ts.

import http from "k6/http";
import { setTimeout } from "k6/timers";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { SEPARATOR } from "./packets.ts";
import type { EnginePacket, Transport, TransportEvents, TransportOptions } from "./transport.ts";

/** Of one request, longer than a server keeps a poll without anything to say. */
const TIMEOUT = "60s";
const ENGINE_OPEN = "0";
const ENGINE_CLOSE = "1";
/** Bytes of one POST, where the server has not said how many it takes. */
const DEFAULT_MAX_PAYLOAD = 100_000;

const decodeRecord = (record: string): EnginePacket =>
    record.charAt(0) === "b" ? decodeBase64(record.slice(1)) : record;
const encodeRecord = (packet: EnginePacket): string =>
    typeof packet === "string" ? packet : `b${encodeBase64(new Uint8Array(packet))}`;

/** Opens a session; a failure is told by `onClose`. */
export function openPolling(options: TransportOptions, events: TransportEvents): Transport {
    const { url, path, query, headers, tags, pollPause } = options;
    const address = `${url}${path}?EIO=4&transport=polling${query}`;
    const waiting: string[] = [];
    let session = "";
    let maxPayload = DEFAULT_MAX_PAYLOAD;
    let posting = false;
    let ended = false;
    const end = (reason: string): void => {
        if (ended) return;
        ended = true;
        events.onClose(reason);
    };

    async function request(method: string, body: string | null): Promise<string | undefined> {
        // One name for all sessions: k6 would otherwise keep a series of metrics for each address.
        const named = { ...tags, name: `${url}${path} polling` };
        const contentType = { "Content-Type": "text/plain;charset=UTF-8" };
        const response = await http.asyncRequest(method, `${address}${session}`, body, {
            headers: body === null ? headers : { ...headers, ...contentType },
            tags: named,
            timeout: TIMEOUT,
            responseType: "text",
        });
        if (response.status === 200) return response.body;
        end(`transport error: ${method} was answered ${response.status || response.error}`);
        return undefined;
    }

    function received(body: string): void {
        for (const record of body.split(SEPARATOR)) {
            if (ended) return;
            if (record === ENGINE_CLOSE) return end("transport close");
            if (record.charAt(0) === ENGINE_OPEN && session === "") {
                const opened = JSON.parse(record.slice(1)) as { sid: string; maxPayload?: number };
                session = `&sid=${encodeURIComponent(opened.sid)}`;
                maxPayload = opened.maxPayload ?? maxPayload;
            }
            events.onPacket(decodeRecord(record));
        }
    }

    async function poll(): Promise<void> {
        try {
            const body = await request("GET", null);
            if (body === undefined || ended) return;
            received(body);
            if (ended) return;
            const pause = pollPause();
            if (pause > 0) setTimeout(() => void poll(), pause);
            else void poll();
        } catch (error) {
            end(`transport error: ${String(error)}`);
        }
    }

    /** Characters stand for bytes here: a POST of three quarters of the limit leaves room for those that are longer. */
    function nextBody(): string {
        const batch = [waiting.shift() ?? ""];
        let length = batch[0]?.length ?? 0;
        while (waiting.length > 0 && length + (waiting[0]?.length ?? 0) < (maxPayload * 3) / 4) {
            const record = waiting.shift() ?? "";
            length += record.length + 1;
            batch.push(record);
        }
        return batch.join(SEPARATOR);
    }

    async function post(): Promise<void> {
        if (posting || session === "") return;
        posting = true;
        try {
            while (waiting.length > 0) {
                if ((await request("POST", nextBody())) === undefined) return;
            }
        } catch (error) {
            end(`transport error: ${String(error)}`);
        } finally {
            posting = false;
        }
    }

    void poll();
    return {
        send(packet) {
            if (ended) return;
            waiting.push(encodeRecord(packet));
            void post();
        },
        close() {
            if (!ended && session !== "") {
                waiting.push(ENGINE_CLOSE);
                void post();
            }
            end("transport close");
        },
    };
}
