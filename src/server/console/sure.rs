//! The strongest actions ask for the password once more: ending every session or very many, what the rules want forced, making
//! and deleting users, giving roles, keys, and what an OAuth entity must be told of. Whoever finds a browser that somebody left open cannot do them.

use super::super::App;
use super::super::address::ClientAddress;
use super::super::problem::Problem;
use super::super::routes::passwords;
use super::form::Form;
use super::operator::Operator;
use crate::store::Bulk;

/// More sessions than this end only with the password.
const MANY: i64 = 1_000;

/// Whether ending so many sessions takes the password: very many, or all but the one of who does it. It goes by their number, not
/// by how they are chosen: a condition that every session meets narrows nothing.
pub(super) async fn is_needed<C>(app: &App, operator: &Operator<C>, count: i64) -> crate::Result<bool> {
    if count <= 0 || count > MANY {
        return Ok(count > MANY);
    }
    let others = Bulk { except: vec![operator.session()], ..Bulk::default() };
    Ok(count >= app.manager.store().bulk_count(&others, count + 1).await?)
}

/// Refuses unless the form has the password of who sends it. Wrong ones are limited like those of the sign-in page.
pub(super) async fn prove<C>(
    app: &App,
    operator: &Operator<C>,
    ClientAddress(address): ClientAddress,
    form: &Form,
) -> Result<(), Problem> {
    if passwords::is_of(app, operator.name(), form.one("password"), address).await? {
        return Ok(());
    }
    let advice = "Type the password you sign in with; a user without one cannot do this here.";
    Err(Problem::new(403, "wrong_password", "The password is wrong, so nothing was done.", advice))
}
