//! The prime factors of `n`, in Rust: params are read from stdin, the result is
//! written to stdout.

use std::io;

fn main() {
    let params: serde_json::Value = serde_json::from_reader(io::stdin()).expect("params are JSON");
    let n = params["n"].as_u64().filter(|n| *n > 1).expect("n must be a whole number above 1");
    println!("{}", serde_json::json!({ "n": n, "factors": factors(n) }));
}

fn factors(mut n: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut divisor = 2;
    while divisor <= n / divisor {
        while n % divisor == 0 {
            found.push(divisor);
            n /= divisor;
        }
        divisor += 1;
    }
    if n > 1 {
        found.push(n);
    }
    found
}
