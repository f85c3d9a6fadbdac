//! Checks over HTTP, one connection after the other, as fast as the pace allows.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::call::Caller;
use crate::world::{Use, World};

/// Checks at one node, so that a node that stands still holds up nobody else's connections.
pub(super) async fn run(world: Arc<World>, node: usize, room: Arc<Semaphore>, mut random: StdRng) {
    let mut caller = Caller::default();
    while !world.is_over() {
        if world.nodes[node].port().is_none() {
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        let Ok(permit) = room.acquire().await else { return };
        permit.forget();
        let Some(entry) = world.any(&mut random) else { continue };
        let counts = entry.used != Use::Watched && random.random_range(0..2) == 0;
        let (_, invoked, _) = caller.check(&world, node, &entry, counts).await;
        if invoked == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
}
