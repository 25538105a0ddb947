// Waiting in an event loop. Called by everything that waits.

import { setTimeout } from "k6/timers";

export const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

export const until = (time: number): Promise<void> => delay(time - Date.now());

/** Resolves with true once the condition holds, or with false at that time. */
export async function holds(condition: () => boolean, deadline: number): Promise<boolean> {
    while (!condition()) {
        if (Date.now() >= deadline) return false;
        await delay(25);
    }
    return true;
}

/**
 * Calls `action` `rate` times a second until that time, beginning at a random moment of the first interval. The times
 * are fixed beforehand: a slow server is not sent less. What is more than a second late is left out.
 */
export async function paced(rate: number, end: number, action: () => void): Promise<void> {
    if (rate <= 0) return until(end);
    const interval = 1_000 / rate;
    let next = Date.now() + Math.random() * interval;
    while (next < end) {
        await until(next);
        const now = Date.now();
        if (now - next > 1_000) next = now;
        action();
        next += interval;
    }
}
