//! `rsipc send`

use std::fs::{self, File};
use std::io::{BufRead, Read, stdin};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use rsipc::{Namespace, Queue};

use crate::Done;
use crate::cli::SendArgs;
use crate::commands::open;
use crate::failure::Failure;
use crate::output;

/// A stream is cut into messages of so many bytes at most.
const PIECE: usize = 1 << 20;

pub fn run(space: &Namespace, args: &SendArgs) -> Done {
    let queue = open(space, &args.name)?;
    let bar = output::bar(args.raw || !args.file.is_empty(), expected(args));
    let sender = Sender { queue: &queue, timeout: args.waiting.timeout(), bar };
    sender.send_all(args).map_err(|failure| failure.about(&args.name))?;
    Ok(ExitCode::SUCCESS)
}

/// How many bytes there are to be sent, if that is known.
fn expected(args: &SendArgs) -> Option<u64> {
    if !args.file.is_empty() {
        return args.file.iter().map(|path| Some(fs::metadata(path).ok()?.len())).sum();
    }
    let input = File::from(stdin().as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    input.is_file().then_some(input.len())
}

struct Sender<'a> {
    queue: &'a Queue,
    timeout: Option<Duration>,
    bar: ProgressBar,
}

impl Sender<'_> {
    fn send(&self, message: &[u8]) -> Result<(), Failure> {
        match self.timeout {
            None => self.queue.send(message),
            Some(timeout) => self.queue.send_timeout(message, timeout),
        }?;
        self.bar.inc(message.len() as u64);
        Ok(())
    }

    fn send_all(&self, args: &SendArgs) -> Result<(), Failure> {
        if !args.messages.is_empty() {
            args.messages.iter().try_for_each(|message| self.send(message.as_bytes()))
        } else if !args.file.is_empty() {
            args.file.iter().try_for_each(|path| {
                let sent = fs::read(path).map_err(Failure::from).and_then(|message| self.send(&message));
                sent.map_err(|failure| failure.about(path.display()))
            })
        } else if args.raw {
            self.stream()
        } else if args.framed {
            self.frames()
        } else {
            self.lines()
        }
    }

    fn lines(&self) -> Result<(), Failure> {
        let (mut input, mut line) = (stdin().lock(), Vec::new());
        while input.read_until(b'\n', &mut line)? != 0 {
            self.send(line.strip_suffix(b"\n").unwrap_or(&line))?;
            line.clear();
        }
        Ok(())
    }

    fn stream(&self) -> Result<(), Failure> {
        let longest = self.queue.max_message().min(PIECE);
        if longest == 0 {
            return Err(Failure::usage("a queue whose messages have no bytes carries no stream"));
        }
        let (mut input, mut piece) = (stdin().lock(), vec![0; longest]);
        loop {
            match input.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(len) => self.send(&piece[..len])?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn frames(&self) -> Result<(), Failure> {
        let mut input = stdin().lock();
        let mut message = Vec::new();
        while !input.fill_buf()?.is_empty() {
            let cut_short = || Failure::new("the input ends inside a message");
            let mut len = [0; 4];
            input.read_exact(&mut len).map_err(|_| cut_short())?;
            let (len, max) = (u32::from_le_bytes(len) as usize, self.queue.max_message());
            if len > max {
                return Err(rsipc::Error::MessageTooLong { index: None, len, max }.into());
            }
            message.resize(len, 0);
            input.read_exact(&mut message).map_err(|_| cut_short())?;
            self.send(&message)?;
        }
        Ok(())
    }
}
