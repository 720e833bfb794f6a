//! `tidegate demo`: tells the story of a rollout in a simulated cluster, in real time. Enters: whether to hurry. Leaves:
//! lines on standard output. The simulated world knows no clock; this paces it by the wall's.

use std::time::{Duration, Instant};

use super::output::print;
use super::{DONE, NO};
use crate::model::Millis;
use crate::sim::demo::{Demo, Standing};

/// Time passes so many times as fast with `--fast`: the story is about 70 s long, and shall take less than 20.
const FAST: u32 = 6;
/// Between two looks at the story.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Let time pass six times as fast: the whole story in less than 20 seconds
    #[arg(long)]
    fast: bool,
}

pub(super) async fn run(arguments: &DemoArgs) -> anyhow::Result<u8> {
    print(
        "The cluster, its controllers, Git and Prometheus are simulated in this process; the agent is the real code.\n\
         Bars are pods: \u{2588} Ready, \u{2591} not Ready.\n",
    );
    let speed = if arguments.fast {
        print(&format!("Times are the simulated cluster's; they pass {FAST} times as fast here.\n"));
        FAST
    } else {
        1
    };
    tokio::select! {
        answer = tell(speed) => Ok(answer),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            print("\nstopped; nothing is left behind\n");
            Ok(DONE)
        }
    }
}

/// Tells the story to its end.
async fn tell(speed: u32) -> u8 {
    let mut demo = Demo::new();
    let begun = Instant::now();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let passed = begun.elapsed() * speed;
        for line in demo.advance(Millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))) {
            print(&format!("{line}\n"));
        }
        match demo.standing() {
            Standing::GoesOn => {}
            Standing::AsTold => {
                print("\nthat was all of it; `make demo` tells it on a real control plane\n");
                return DONE;
            }
            Standing::NotAsTold => {
                print("\nthis is not the story that was to be told\n");
                return NO;
            }
        }
    }
}
