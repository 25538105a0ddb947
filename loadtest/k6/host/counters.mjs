/** Where in the numbers that all threads share each of them is; `exec.instance` reads them, run.mjs writes them. */
export const COUNTERS = { iterationsInterrupted: 0, iterationsCompleted: 1, vusActive: 2, vusInitialized: 3 };
