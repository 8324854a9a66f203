//! The Python module by itself, over its pipes.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
};

use super::{MODULE, python};

const SCRIPT: &str = r#"
from swarmwire_worker import serve, subroutine

@subroutine
def echo(word):
    return word

@subroutine
def total(data):
    return "5"

@subroutine
def fail():
    raise ValueError("a lone \udcff")

serve()
"#;

fn frame(kind: char, rest: &str) -> Vec<u8> {
    let length = u32::try_from(1 + rest.len()).unwrap();
    [&length.to_be_bytes(), kind.to_string().as_bytes(), rest.as_bytes()].concat()
}

struct Worker(Child);

impl Worker {
    fn start() -> Self {
        let mut command = Command::new(python());
        command.args(["-c", SCRIPT]).env("PYTHONPATH", MODULE).env("PYTHONDONTWRITEBYTECODE", "1");
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn tell(&mut self, frames: &[Vec<u8>]) {
        self.0.stdin.as_mut().unwrap().write_all(&frames.concat()).unwrap();
    }

    /// The next frame that it writes.
    fn told(&mut self) -> String {
        let stdout = self.0.stdout.as_mut().unwrap();
        let mut length = [0; 4];
        stdout.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
        stdout.read_exact(&mut frame).unwrap();
        String::from_utf8(frame).unwrap()
    }

    /// What else it writes, until it has seen the end of its input.
    fn end(mut self) -> Vec<u8> {
        drop(self.0.stdin.take());
        let mut rest = Vec::new();
        self.0.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        self.0.wait().unwrap();
        rest
    }
}

fn call(name: &str, arguments: &str) -> Vec<u8> {
    let about = r#""id":1,"kind":"batch","caller":"x","deadline_ms":null"#;
    let args = format!(r#"{{"args":[{arguments}],"kwargs":{{}}}}"#);
    frame('C', &format!(r#"{{"subroutine":"{name}",{about},"args":{args}}}"#))
}

#[test]
fn what_comes_after_the_end_of_a_call_is_not_answered() {
    let mut worker = Worker::start();
    for word in ["one", "two"] {
        worker.tell(&[call("echo", &format!("\"{word}\"")), frame('E', "")]);
        assert_eq!((worker.told(), worker.told()), (format!("P{word}"), "E".to_owned()));
        worker.tell(&[frame('X', "")]);
    }
    assert_eq!(worker.end(), b"");
}

#[test]
fn what_is_no_result_is_told_and_not_taken_for_one() {
    let mut worker = Worker::start();
    for (given, kind) in [("{\"a\": 1}", "dict"), ("5", "int"), ("[5]", "int"), ("1.5", "float")] {
        worker.tell(&[call("echo", given), frame('E', "")]);
        let told = worker.told();
        let due = format!("FTypeError: `echo` gave {kind} in place of bytes or text");
        assert!(told.starts_with(&due), "{given}: {told}");
        worker.tell(&[frame('X', "")]);
    }
    worker.tell(&[
        frame('C', r#"{"subroutine":"total","id":1,"kind":"send","caller":"x","deadline_ms":null}"#),
        frame('E', ""),
    ]);
    assert_eq!(worker.told(), "FTypeError: `total` gave str in place of an integer");
    worker.end();
}

#[test]
fn what_a_function_raises_is_told_whatever_is_in_it_and_the_next_call_is_served() {
    let mut worker = Worker::start();
    for (call, told) in [
        (call("fail", ""), "FValueError: a lone ?"),
        (call("no.such", ""), "FLookupError: this worker has no function for `no.such`"),
        (call("echo", r#""one""#), "Pone"),
    ] {
        worker.tell(&[call, frame('E', "")]);
        assert_eq!(worker.told(), told);
    }
    assert_eq!(worker.told(), "E");
    assert_eq!(worker.end(), b"");
}
