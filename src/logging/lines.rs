//! Writes lines on a thread of its own: whoever reads them slowly, or not at all, stalls nothing else.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written; more are lost, and counted.
const LINES_MAX: usize = 8_192;

/// How long the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes lines without ever waiting.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Waits at its end, for a second at most, until what was logged is written.
#[derive(Debug)]
pub struct Guard(Lines);

impl Lines {
    /// Starts the thread. `lost` says in the look of the log how many lines are missing.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<(Self, Guard)> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let lines = Self { sender, lost: Arc::default() };
        let count = Arc::clone(&lines.lost);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, out, &count, lost))?;
        Ok((lines.clone(), Guard(lines)))
    }
}

/// Nothing can be done about an output that fails: there is nowhere to say so.
fn write(receiver: &Receiver<Message>, mut out: impl Write, count: &AtomicU64, lost: impl Fn(u64) -> String) {
    for message in receiver {
        match message {
            Message::Line(line) => {
                let _ = out.write_all(&line);
            }
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.send(());
            }
        }
        match count.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => {
                let _ = out.write_all(lost(lines).as_bytes());
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        // Where the queue is full nobody reads, and waiting would not help.
        if self.0.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// One call is one line: the formatter hands over each event as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// An output that writes a line only when it is told to.
    struct Stalled {
        go: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Stalled {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // The test that let go lets every line pass.
            let _ = self.go.recv();
            let _ = self.written.send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_stalls_nobody_and_what_it_missed_is_counted() {
        let ((go, gate), (written, lines)) = (channel(), channel());
        let (mut log, guard) =
            Lines::start(Stalled { go: gate, written }, |lost| format!("{lost} lost\n")).unwrap();
        for nth in 0..LINES_MAX + 100 {
            log.write_all(format!("{nth}\n").as_bytes()).unwrap();
        }
        drop(go);
        drop(guard);
        drop(log);
        let lines: Vec<String> = lines.iter().collect();
        let lost: usize = lines
            .iter()
            .filter_map(|line| line.strip_suffix(" lost\n"))
            .map(|lost| lost.parse::<usize>().unwrap())
            .sum();
        let kept = lines.iter().filter(|line| !line.contains("lost")).count();
        assert!(lost >= 99, "{lost} lines are said to be lost");
        assert_eq!(lost + kept, LINES_MAX + 100);
        assert_eq!(lines[0], "0\n");
    }

    #[test]
    fn what_was_logged_is_written_before_the_end() {
        let (written, lines) = channel();
        let (go, gate) = channel();
        drop(go);
        let (mut log, guard) = Lines::start(Stalled { go: gate, written }, |_| String::new()).unwrap();
        log.write_all(b"last words\n").unwrap();
        drop(guard);
        assert_eq!(lines.try_recv().as_deref(), Ok("last words\n"));
    }
}
