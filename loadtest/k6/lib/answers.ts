// Only what comes before a run: the settings, and whether a Roomcast answers at BASE_URL. Run by load.mjs, on the host,
// before anything else.

import { probe } from "./probe.ts";
import { readSettings } from "./settings.ts";

const settings = readSettings(__ENV, { rooms: 1, vus: 1, sockets: 1, rate: 1, duration: "10s" });
const name = `answers-${Math.random().toString(36).slice(2, 10)}`;

export const options = { vus: 1, iterations: 1 };
export const setup = (): void => probe(settings, name);
export default function (): void {}
export const handleSummary = (): Record<string, string> => ({});
