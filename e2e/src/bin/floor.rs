//! The floor under a broker's figures: one thread that does with the bytes what no broker can do without.
//!
//! `floor write FRAME_BYTES FRAMES FILE`: reads frames from a connection of 127.0.0.1, writes each to a file whose
//! space was reserved before, and answers; the client keeps five frames in flight.
//! `floor read FRAME_BYTES FRAMES FILE`: for each request sends so many bytes of the file, without a copy of its own.
//!
//! Prints JSON: `seconds` on the clock of the client, `cpu_s` of the thread that serves.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use rustix::fs::{FallocateFlags, fallocate, sendfile};

/// As many as Kafka's producers keep.
const IN_FLIGHT: u64 = 5;
/// About what a Produce answer takes.
const ANSWER_BYTES: usize = 64;
/// About what a Fetch request takes.
const REQUEST_BYTES: usize = 64;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, frame_bytes, frames, path] = arguments.as_slice() else {
        bail!("usage: floor write|read FRAME_BYTES FRAMES FILE");
    };
    let work = Work {
        frame_bytes: frame_bytes.parse().context("FRAME_BYTES")?,
        frames: frames.parse().context("FRAMES")?,
    };
    let path = Path::new(path);
    let (seconds, cpu_s) = match mode.as_str() {
        "write" => against(
            |socket| work.store(socket, path),
            |socket| work.send(socket),
        )?,
        "read" => against(
            |socket| work.give(socket, path),
            |socket| work.fetch(socket),
        )?,
        other => bail!("{other:?} is neither write nor read"),
    };
    println!("{{\"seconds\": {seconds:.6}, \"cpu_s\": {cpu_s:.6}}}");
    Ok(())
}

/// Runs both ends, each on a thread: the client's seconds, and the server's CPU seconds.
fn against(
    server: impl FnOnce(TcpStream) -> Result<()> + Send,
    client: impl FnOnce(TcpStream) -> Result<()>,
) -> Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let asking = TcpStream::connect(listener.local_addr()?)?;
    let (serving, _) = listener.accept()?;
    asking.set_nodelay(true)?;
    serving.set_nodelay(true)?;
    std::thread::scope(|scope| {
        let server = scope.spawn(move || -> Result<f64> {
            let before = thread_cpu_s()?;
            server(serving)?;
            Ok(thread_cpu_s()? - before)
        });
        let begun = Instant::now();
        let asked = client(asking).map(|()| begun.elapsed().as_secs_f64());
        let served = server.join();
        both(
            asked,
            served.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    })
}

/// What both ends tell. Where one fails, all that the other has to say is that it was left: the errors of both are told.
fn both(client: Result<f64>, server: Result<f64>) -> Result<(f64, f64)> {
    let of_client = |error: Error| error.context("the client");
    let of_server = |error: Error| error.context("the server");
    match (client.map_err(of_client), server.map_err(of_server)) {
        (Ok(seconds), Ok(cpu_s)) => Ok((seconds, cpu_s)),
        (Err(client), Err(server)) => bail!("{server:#}; {client:#}"),
        (Err(only), Ok(_)) | (Ok(_), Err(only)) => Err(only),
    }
}

/// So many frames of such a size.
#[derive(Clone, Copy)]
struct Work {
    frame_bytes: usize,
    frames: u64,
}

impl Work {
    fn store(self, mut socket: TcpStream, path: &Path) -> Result<()> {
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .open(path)?;
        let size = self.frame_bytes as u64 * self.frames;
        fallocate(&file, FallocateFlags::empty(), 0, size).context("reserve space")?;
        let mut frame = vec![0; self.frame_bytes];
        for index in 0..self.frames {
            socket.read_exact(&mut frame)?;
            file.write_all_at(&frame, index * self.frame_bytes as u64)?;
            socket.write_all(&[0; ANSWER_BYTES])?;
        }
        Ok(())
    }

    fn send(self, mut socket: TcpStream) -> Result<()> {
        let frame = vec![b'x'; self.frame_bytes];
        let mut answer = [0; ANSWER_BYTES];
        for index in 0..self.frames {
            if index >= IN_FLIGHT {
                socket.read_exact(&mut answer)?;
            }
            socket.write_all(&frame)?;
        }
        for _ in 0..self.frames.min(IN_FLIGHT) {
            socket.read_exact(&mut answer)?;
        }
        Ok(())
    }

    fn give(self, mut socket: TcpStream, path: &Path) -> Result<()> {
        let file = File::open(path)?;
        let mut request = [0; REQUEST_BYTES];
        for index in 0..self.frames {
            socket.read_exact(&mut request)?;
            let mut offset = index * self.frame_bytes as u64;
            let end = offset + self.frame_bytes as u64;
            while offset < end {
                let left = (end - offset) as usize;
                if sendfile(&socket, &file, Some(&mut offset), left)? == 0 {
                    bail!("{} is too short", path.display());
                }
            }
        }
        Ok(())
    }

    fn fetch(self, mut socket: TcpStream) -> Result<()> {
        let mut frame = vec![0; self.frame_bytes];
        for _ in 0..self.frames {
            socket.write_all(&[0; REQUEST_BYTES])?;
            socket.read_exact(&mut frame)?;
        }
        Ok(())
    }
}

/// What this thread has had of a CPU (the first number of schedstat, in nanoseconds).
fn thread_cpu_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("schedstat")?;
    let nanos = text.split_whitespace().next().context("schedstat")?;
    Ok(nanos.parse::<f64>().context("schedstat")? / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_fails_is_named_beside_the_client_that_it_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let work = Work {
            frame_bytes: 1 << 20,
            frames: 100,
        };
        let nowhere = folder.path().join("missing/file");
        let told = against(
            |socket| work.store(socket, &nowhere).context("store"),
            |socket| work.send(socket).context("send"),
        );
        let told = format!("{:#}", told.unwrap_err());
        assert!(told.starts_with("the server: store: "), "{told}");
        assert!(told.contains("; the client: send: "), "{told}");
    }
}
