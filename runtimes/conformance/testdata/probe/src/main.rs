//! Does what `do` in its context says: `{"do": "exit 3"}`.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

fn main() {
    let context = std::env::var("ENVOKE_CONTEXT").expect("there is a context");
    let command = context
        .split_once("\"do\":")
        .and_then(|(_, rest)| rest.split('"').nth(1))
        .unwrap_or("echo");
    let (verb, text) = command.split_once(' ').unwrap_or((command, ""));
    let number = text.parse().unwrap_or(0);
    match verb {
        "echo" => echo(usize::MAX),
        "echo-slowly" => echo(7),
        "print" => print!("{text}"),
        "log" => {
            for line in text.split(';') {
                eprintln!("{line}");
            }
            print!("null");
        }
        "log-much" => {
            let line = "x".repeat(99);
            for _ in 0..number {
                eprintln!("{line}");
            }
            panic!("at the end");
        }
        "exit" => {
            eprintln!("leaving");
            std::process::exit(number as i32);
        }
        "exit-well" => {
            print!("1");
            io::stdout().flush().unwrap();
            std::process::exit(0);
        }
        "panic" => panic!("{text}"),
        "unreachable" => std::process::abort(),
        "out-of-bounds" => unsafe {
            println!("{}", *black_box(u32::MAX as usize as *const u8));
        },
        "recurse" => println!("{}", recurse(number)),
        "loop" => loop {
            black_box(0);
        },
        "sleep" => {
            std::thread::sleep(Duration::from_millis(number));
            print!("{number}");
        }
        "allocate" => {
            let mut all = Vec::new();
            for _ in 0..number {
                all.push(black_box(vec![1u8; 1 << 20]));
            }
            print!("{}", all.len());
        }
        "output" => {
            let chunk = [b'1'; 1 << 16];
            for _ in 0..number >> 16 {
                // Goes on although nobody takes it any more.
                let _ = io::stdout().write_all(&chunk);
            }
        }
        "world" => world(),
        _ => panic!("no such command: {command}"),
    }
}

fn echo(piece: usize) {
    let mut all = Vec::new();
    if piece == usize::MAX {
        io::stdin().read_to_end(&mut all).unwrap();
    } else {
        let mut some = vec![0; piece];
        loop {
            match io::stdin().read(&mut some).unwrap() {
                0 => break,
                n => all.extend_from_slice(&some[..n]),
            }
        }
    }
    io::stdout().write_all(&all).unwrap();
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 4]);
    if depth == 0 { 0 } else { recurse(depth - 1) + frame[3] - depth + 1 }
}

/// Says what a module can see of the world around it.
fn world() {
    let args: Vec<String> = std::env::args().collect();
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    let is_now = SystemTime::UNIX_EPOCH.elapsed().unwrap() > Duration::from_secs(1_700_000_000);
    print!(
        "{{\"args\":{args:?},\"env\":{names:?},\"root\":{},\"file\":{},\"clock\":{is_now}}}",
        std::fs::read_dir("/").is_ok(),
        std::fs::write("file", "x").is_ok(),
    );
}
