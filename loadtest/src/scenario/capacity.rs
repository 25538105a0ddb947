//! The figures of the capacity guide: what a connection, a join, a message and a delivery cost, measured on three loads;
//! and the formula of the guide, checked on three others, prediction beside measurement. Called by `mod.rs`.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

use super::catalog::{Rooms, Scenario};
use super::log::log;
use super::settings::Run;
use super::summary::Summary;
use super::target::Spent;

use crate::swarm::Window;

/// Connections with which everything that every process needs is there.
const FEW: usize = 200;
/// The gateways' interval of heartbeats: a period of this length has one of each connection.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// A prediction holds where it is at most this share of the measurement away from it.
const TOLERANCE: f64 = 0.2;

/// A load.
#[derive(Debug, Clone, Copy, Serialize)]
struct Load {
    connections: usize,
    /// Of each room.
    members: usize,
    /// Messages a second.
    rate: f64,
}

/// The loads that the costs are computed from: one has many connections, one many deliveries, one many messages.
const MEASURED: [Load; 3] = [
    Load { connections: 4_000, members: 100, rate: 800.0 },
    Load { connections: 1_000, members: 100, rate: 300.0 },
    Load { connections: 2_000, members: 4, rate: 3_000.0 },
];
/// The loads that the formula is checked on.
const CHECKED: [Load; 3] = [
    Load { connections: 1_000, members: 20, rate: 600.0 },
    Load { connections: 3_000, members: 25, rate: 1_500.0 },
    Load { connections: 8_000, members: 50, rate: 1_200.0 },
];

/// What was used under a load, all gateways together.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Used {
    /// Cores of gateways and of Redis while messages are sent.
    gateways: f64,
    redis: f64,
    /// KiB in memory.
    gateways_kib: f64,
    redis_kib: f64,
    /// Seconds of processor time of all joins.
    gateways_joining: f64,
    redis_joining: f64,
}

/// What was measured besides.
#[derive(Debug, Clone, Copy)]
struct Measured {
    used: Used,
    messages: f64,
    deliveries: f64,
    /// With few connections.
    few: Used,
    /// Cores while nothing is sent; 0 where that was not measured.
    idle: f64,
    p99_ms: f64,
}

/// The costs. Times are µs of processor time.
#[derive(Debug, Clone, Copy, Serialize)]
struct Costs {
    /// Of a gateway and of Redis, once they are awake all the time, in cores.
    gateway_base: f64,
    redis_base: f64,
    message: f64,
    delivery: f64,
    redis_message: f64,
    join: f64,
    redis_join: f64,
    /// Per connection and second.
    idle: f64,
    /// Of one gateway without connections, in KiB.
    gateway_kib: f64,
    redis_kib: f64,
    connection_kib: f64,
    redis_connection_kib: f64,
}

pub(super) fn run(run: &Run, summary: &mut Summary) -> Result<()> {
    let gateways = run.gateways.first().copied().unwrap_or(1);
    let mut measured = Vec::new();
    for load in MEASURED {
        // The first has most connections.
        measured.push(measure(run, gateways, load, measured.is_empty())?);
    }
    let costs = costs(&measured, gateways as f64).context("the loads do not determine the costs")?;
    for (name, value) in costs.named() {
        summary.gauge(name, value);
    }
    summary.detail("costs", json!(costs));
    let mut table = "prediction / measurement (difference)\n".to_owned();
    let mut rows = Vec::new();
    for load in CHECKED {
        let found = measure(run, gateways, load, false)?;
        let predicted = costs.predict(load, gateways as f64, found.messages, found.deliveries);
        // Writing to a string does not fail.
        writeln!(
            table,
            "{} connections in rooms of {}, {:.0} messages/s, {:.0} deliveries/s, p99 {:.1} ms",
            load.connections, load.members, found.messages, found.deliveries, found.p99_ms
        )
        .unwrap_or_default();
        for ((name, unit, predicted), (_, _, measured)) in
            predicted.named().into_iter().zip(found.used.named())
        {
            let difference = (predicted - measured) / measured;
            writeln!(
                table,
                "  {name:<28} {predicted:>9.2} / {measured:<9.2} {unit:<8} ({:+.0} %)",
                difference * 100.0
            )
            .unwrap_or_default();
            let gauge = format!("prediction_{}_{name}", load.connections).replace([' ', ','], "_");
            summary.gauge(&gauge, difference);
            let within = difference.abs() <= TOLERANCE;
            summary.threshold(&gauge, "abs(value)<=0.2", difference, within);
        }
        rows.push(json!({ "load": load, "predicted": predicted, "measured": found.used }));
    }
    summary.detail("checks", rows.into());
    summary.note(&table);
    Ok(())
}

fn measure(run: &Run, gateways: usize, load: Load, idles: bool) -> Result<Measured> {
    let target = run.start(gateways, load.connections)?;
    let scenario = Scenario { rooms: Rooms::Of(load.members), ..run.scenario };
    let mut workers = run.workers(&target, load.connections, &scenario)?;
    let memory = || target.memory_kib().and_then(|kib| kib.context("the memory of servers elsewhere"));
    workers.connect(FEW)?;
    workers.idle(Duration::from_secs(2))?;
    let few = memory()?;
    let mark = target.mark(&workers.pids())?;
    workers.connect(usize::MAX)?;
    // Work that a join causes, such as its presence events, is part of its cost.
    workers.idle(Duration::from_secs(2))?;
    let joining = target.since(mark.as_ref(), &workers.pids())?.context("no mark")?;
    let all = memory()?;
    let mark = target.mark(&workers.pids())?;
    if idles {
        workers.idle(HEARTBEAT)?;
    }
    let idle = target.since(mark.as_ref(), &workers.pids())?.context("no mark")?;
    workers.send(load.rate, Duration::from_secs(2))?;
    let mark = target.mark(&workers.pids())?;
    let counts = workers.send(load.rate, run.time)?;
    let Spent { seconds, gateways, redis, .. } =
        target.since(mark.as_ref(), &workers.pids())?.context("no mark")?;
    let window = Window::of(&counts);
    if let Some(fault) = window.fault() {
        anyhow::bail!("{load:?}: {fault}");
    }
    let share = (load.connections - FEW) as f64 / load.connections as f64;
    let used = Used {
        gateways: gateways / seconds,
        redis: redis / seconds,
        gateways_kib: all.0 as f64,
        redis_kib: all.1 as f64,
        gateways_joining: joining.gateways / share,
        redis_joining: joining.redis / share,
    };
    let measured = Measured {
        used,
        messages: counts.sent as f64 / seconds,
        deliveries: counts.delivered as f64 / seconds,
        few: Used { gateways_kib: few.0 as f64, redis_kib: few.1 as f64, ..Used::default() },
        idle: if idles { idle.gateways / idle.seconds } else { 0.0 },
        p99_ms: window.p99_ms,
    };
    log(format_args!("  {load:?}: {measured:?}"));
    Ok(measured)
}

/// The costs that explain three measurements; none where these do not determine them.
fn costs(measured: &[Measured], gateways: f64) -> Option<Costs> {
    let [many, wide, narrow] = measured else { return None };
    let connections = MEASURED.map(|load| load.connections as f64);
    let idle = many.idle / connections.first()?;
    let equations: Vec<[f64; 4]> = [many, wide, narrow]
        .into_iter()
        .zip(connections)
        .map(|(one, connections)| {
            [gateways, one.messages, one.deliveries, one.used.gateways - idle * connections]
        })
        .collect();
    let [gateway_base, message, delivery] =
        solve([*equations.first()?, *equations.get(1)?, *equations.get(2)?])?;
    // Redis has no part in deliveries: a line through the fewest and the most messages.
    let redis_message = (narrow.used.redis - wide.used.redis) / (narrow.messages - wide.messages);
    let all = connections.first()?;
    let each = |few: f64, used: f64| (used - few) / (all - FEW as f64);
    let connection_kib = each(many.few.gateways_kib, many.used.gateways_kib);
    let redis_connection_kib = each(many.few.redis_kib, many.used.redis_kib);
    Some(Costs {
        gateway_base,
        redis_base: wide.used.redis - redis_message * wide.messages,
        message: message * 1e6,
        delivery: delivery * 1e6,
        redis_message: redis_message * 1e6,
        join: many.used.gateways_joining / all * 1e6,
        redis_join: many.used.redis_joining / all * 1e6,
        idle: idle * 1e6,
        gateway_kib: (many.few.gateways_kib - connection_kib * FEW as f64) / gateways,
        redis_kib: many.few.redis_kib - redis_connection_kib * FEW as f64,
        connection_kib,
        redis_connection_kib,
    })
}

/// Solves three equations `a x + b y + c z = d`; none where they have no single solution.
fn solve(equations: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    let determinant = |[[a, b, c], [d, e, f], [g, h, i]]: [[f64; 3]; 3]| {
        a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    };
    let all = determinant(equations.map(|[a, b, c, _]| [a, b, c]));
    let x = determinant(equations.map(|[_, b, c, d]| [d, b, c])) / all;
    let y = determinant(equations.map(|[a, _, c, d]| [a, d, c])) / all;
    let z = determinant(equations.map(|[a, b, _, d]| [a, b, d])) / all;
    [x, y, z].iter().all(|value| value.is_finite()).then_some([x, y, z])
}

impl Costs {
    fn named(&self) -> [(&'static str, f64); 12] {
        [
            ("gateway_base_cores", self.gateway_base),
            ("gateway_cpu_us_per_message", self.message),
            ("gateway_cpu_us_per_delivery", self.delivery),
            ("gateway_cpu_us_per_join", self.join),
            ("gateway_cpu_us_per_idle_connection_and_second", self.idle),
            ("gateway_base_kib", self.gateway_kib),
            ("gateway_kib_per_connection", self.connection_kib),
            ("redis_base_cores", self.redis_base),
            ("redis_cpu_us_per_message", self.redis_message),
            ("redis_cpu_us_per_join", self.redis_join),
            ("redis_base_kib", self.redis_kib),
            ("redis_kib_per_connection", self.redis_connection_kib),
        ]
    }

    /// The formula of the guide.
    fn predict(&self, load: Load, gateways: f64, messages: f64, deliveries: f64) -> Used {
        let connections = load.connections as f64;
        Used {
            gateways: gateways * self.gateway_base
                + (self.message * messages + self.delivery * deliveries + self.idle * connections) / 1e6,
            redis: self.redis_base + self.redis_message * messages / 1e6,
            gateways_kib: gateways * self.gateway_kib + self.connection_kib * connections,
            redis_kib: self.redis_kib + self.redis_connection_kib * connections,
            gateways_joining: self.join * connections / 1e6,
            redis_joining: self.redis_join * connections / 1e6,
        }
    }
}

impl Used {
    fn named(&self) -> [(&'static str, &'static str, f64); 6] {
        [
            ("gateways", "cores", self.gateways),
            ("redis", "cores", self.redis),
            ("gateways memory", "MiB", self.gateways_kib / 1024.0),
            ("redis memory", "MiB", self.redis_kib / 1024.0),
            ("gateways, all joins", "s", self.gateways_joining),
            ("redis, all joins", "s", self.redis_joining),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_costs_predict_for_the_measured_loads_is_what_was_measured() {
        let truth = Costs {
            gateway_base: 0.02,
            redis_base: 0.03,
            message: 20.0,
            delivery: 4.0,
            redis_message: 15.0,
            join: 130.0,
            redis_join: 30.0,
            idle: 2.0,
            gateway_kib: 20_000.0,
            redis_kib: 9_000.0,
            connection_kib: 9.0,
            redis_connection_kib: 0.5,
        };
        let measured = MEASURED.map(|load| {
            let (messages, deliveries) = (load.rate, load.rate * load.members as f64);
            let used = truth.predict(load, 2.0, messages, deliveries);
            let few = truth.predict(Load { connections: FEW, ..load }, 2.0, messages, deliveries);
            let idle = truth.idle * load.connections as f64 / 1e6;
            Measured { used, messages, deliveries, few, idle, p99_ms: 1.0 }
        });
        let found = costs(&measured, 2.0).unwrap();
        for ((name, found), (_, truth)) in found.named().into_iter().zip(truth.named()) {
            assert!((found - truth).abs() < truth * 1e-6, "{name}: {found}, not {truth}");
        }
    }

    #[test]
    fn equations_that_determine_nothing_have_no_solution() {
        assert_eq!(solve([[1.0, 2.0, 3.0, 4.0]; 3]), None);
    }
}
