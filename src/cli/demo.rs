use super::{Failure, Global};
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct DemoArgs {}
pub(super) async fn run(_: &Global, _: &DemoArgs) -> Result<(), Failure> {
    Ok(())
}
