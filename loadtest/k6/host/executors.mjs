// k6's executors: when a scenario begins iterations, and in how many VUs. Each is a function of a ScenarioRun
// (scenario-run.mjs), which has the VUs and the clock; called by it. They return when all of their iterations are over.
import { constantDue, iterationsDue, vusAt } from './schedule.mjs';

/** How exactly ramps are followed. */
const STEP_MS = 20;

/** Keeps `vu` busy as long as `more` says so. */
async function repeat(run, vu, more) {
  while (!run.isOver && more()) await run.iterate(vu);
}

async function constantVus(run) {
  const vus = await run.take(run.scenario.vus);
  await Promise.all(vus.map((vu) => repeat(run, vu, () => true)));
}

async function perVuIterations(run) {
  const { vus, iterations } = run.scenario;
  let begun = 0;
  const taken = await run.take(vus);
  await Promise.all(taken.map((vu) => {
    let own = 0;
    return repeat(run, vu, () => own < iterations && ((own += 1), (begun += 1), run.share(begun / (vus * iterations))));
  }));
  run.dropped(vus * iterations - begun);
}

async function sharedIterations(run) {
  const { vus, iterations } = run.scenario;
  let begun = 0;
  const taken = await run.take(vus);
  await Promise.all(taken.map((vu) =>
    repeat(run, vu, () => begun < iterations && ((begun += 1), run.share(begun / iterations)))));
  run.dropped(iterations - begun);
}

async function rampingVus(run) {
  const { stages, startVUs, gracefulRampDown, plannedVus } = run.scenario;
  const slots = (await run.take(plannedVus)).map((vu) => ({ vu, wanted: false, task: undefined, leaveBy: Infinity }));
  while (!run.isOver) {
    const target = vusAt(stages, startVUs, run.elapsed);
    slots.forEach((slot, at) => {
      const wanted = at < target;
      if (slot.wanted && !wanted) slot.leaveBy = run.elapsed + gracefulRampDown;
      slot.wanted = wanted;
      if (wanted) slot.leaveBy = Infinity;
      if (wanted) slot.task ??= repeat(run, slot.vu, () => slot.wanted).then(() => (slot.task = undefined));
      else if (slot.task && run.elapsed >= slot.leaveBy) {
        slot.leaveBy = Infinity;
        run.interrupt(slot.vu);
      }
    });
    await run.pause(STEP_MS);
  }
  await Promise.all(slots.map(({ task }) => task));
}

/** Begins iterations as `due` says, in whichever VU is free; without a free one an iteration is dropped and a VU added. */
async function arrivalRate(run, due) {
  const { preAllocatedVUs, maxVus } = run.scenario;
  const free = await run.take(preAllocatedVUs);
  const tasks = new Set();
  let begun = 0;
  let vus = preAllocatedVUs;
  const begin = (vu) => {
    const task = run.iterate(vu).then(() => {
      tasks.delete(task);
      free.push(vu);
    });
    tasks.add(task);
  };
  // Once more at the end: what was due just before it is late, not lost.
  for (let last = false; !run.isStopped && !last; await run.pause(1)) {
    last = run.isOver;
    for (const wanted = due(Math.min(run.elapsed, run.scenario.runsMs)); begun < wanted; begun += 1) {
      const vu = free.shift();
      if (vu !== undefined) begin(vu);
      else run.dropped(1);
      if (vu === undefined && vus < maxVus) {
        vus += 1;
        void run.add().then((added) => free.push(added));
      }
    }
  }
  await Promise.all(tasks);
}

const constantArrivalRate = (run) => {
  const { rate, timeUnit, duration } = run.scenario;
  return arrivalRate(run, (ms) => constantDue(rate, timeUnit, duration, ms));
};

const rampingArrivalRate = (run) => {
  const { stages, startRate, timeUnit } = run.scenario;
  return arrivalRate(run, (ms) => iterationsDue(stages, startRate, timeUnit, ms));
};

export const EXECUTORS = {
  'constant-vus': constantVus,
  'ramping-vus': rampingVus,
  'per-vu-iterations': perVuIterations,
  'shared-iterations': sharedIterations,
  'constant-arrival-rate': constantArrivalRate,
  'ramping-arrival-rate': rampingArrivalRate,
};
