//! Reads counters and subscriptions of Redis for the benchmark, over a blocking socket with a minimal client. Roomcast
//! itself does not use it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A connection.
pub(super) struct Redis(BufReader<TcpStream>);

/// An answer.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
}

/// Redis's counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    /// Scripts that clients called.
    pub(super) scripts: u64,
    /// Bytes sent to clients.
    pub(super) out_bytes: u64,
}

impl Redis {
    /// Connects.
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting to redis-server")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        read(&mut self.0)
    }

    /// Whether it answers.
    pub(super) fn ping(&mut self) -> Result<()> {
        self.ask(&["PING"]).map(drop)
    }

    /// Its counters.
    pub(super) fn counters(&mut self) -> Result<Counters> {
        let mut counters = Counters::default();
        for section in ["commandstats", "stats"] {
            let Reply::Text(info) = self.ask(&["INFO", section])? else { bail!("INFO answered oddly") };
            counters.add(&info);
        }
        Ok(counters)
    }

    /// How many subscribers a message of these rooms has, on the average: what Redis sends for each.
    pub(super) fn copies(&mut self, rooms: &[String]) -> Result<f64> {
        let Reply::List(channels) = self.ask(&["PUBSUB", "SHARDCHANNELS"])? else { bail!("no channels") };
        let mut sum = 0;
        for channel in channels {
            let Reply::Text(channel) = channel else { continue };
            if !rooms.iter().any(|room| channel.ends_with(&format!(":{room}"))) {
                continue;
            }
            if let Reply::List(counts) = self.ask(&["PUBSUB", "SHARDNUMSUB", &channel])? {
                sum += counts
                    .iter()
                    .map(|count| if let Reply::Number(count) = count { *count } else { 0 })
                    .sum::<i64>();
            }
        }
        Ok(sum as f64 / rooms.len().max(1) as f64)
    }

    /// From now on this connection receives every command (MONITOR).
    pub(super) fn monitor(mut self) -> Result<Monitor> {
        self.ask(&["MONITOR"])?;
        self.0.get_ref().set_nonblocking(true)?;
        Ok(Monitor(self.0))
    }
}

/// A connection that receives every command (MONITOR).
pub(super) struct Monitor(BufReader<TcpStream>);

impl Monitor {
    /// How many commands clients sent so far; those that scripts called are not counted.
    pub(super) fn count(mut self) -> Result<usize> {
        let mut text = Vec::new();
        match self.0.read_to_end(&mut text) {
            Ok(_) => bail!("redis-server closed the connection"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(sent_by_clients(&String::from_utf8_lossy(&text)))
    }
}

fn sent_by_clients(monitored: &str) -> usize {
    monitored.lines().filter(|line| line.starts_with('+') && !line.contains(" lua] ")).count()
}

impl Counters {
    fn add(&mut self, info: &str) {
        for line in info.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let calls = || value.strip_prefix("calls=")?.split(',').next()?.parse::<u64>().ok();
            match name {
                "cmdstat_evalsha" | "cmdstat_eval" | "cmdstat_fcall" => self.scripts += calls().unwrap_or(0),
                "total_net_output_bytes" => self.out_bytes = value.trim().parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

fn read(from: &mut BufReader<TcpStream>) -> Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let Some((kind, rest)) = line.split_at_checked(1) else { bail!("redis-server closed the connection") };
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        ":" => Reply::Number(rest.parse()?),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else { return Ok(Reply::Nothing) };
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Reply::Text(String::from_utf8(bytes)?)
        }
        "*" => {
            let Ok(length) = rest.parse::<usize>() else { return Ok(Reply::Nothing) };
            Reply::List((0..length).map(|_| read(from)).collect::<Result<_>>()?)
        }
        _ => bail!("redis-server: {rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_what_redis_says() {
        let mut counters = Counters::default();
        counters.add("# Commandstats\r\ncmdstat_evalsha:calls=12,usec=9,rejected_calls=0\r\ncmdstat_xadd:calls=7,usec=1\r\n");
        counters.add("# Stats\r\ntotal_net_output_bytes:345\r\n");
        assert_eq!((counters.scripts, counters.out_bytes), (12, 345));
    }

    #[test]
    fn commands_of_scripts_are_not_those_of_clients() {
        let monitored = "+1.0 [0 127.0.0.1:5] \"evalsha\" \"x\"\r\n+1.0 [0 lua] \"get\" \"a\"\r\n+2.0 [0 127.0.0.1:5] \"ping\"\r\n";
        assert_eq!(sent_by_clients(monitored), 2);
    }
}
