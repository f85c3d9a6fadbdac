//! The strongest actions ask for the password once more: ending every session, giving roles, making and revoking keys. Whoever
//! finds a browser that somebody left open cannot do them.

use super::super::App;
use super::super::address::ClientAddress;
use super::super::problem::Problem;
use super::super::routes::passwords;
use super::form::Form;
use super::operator::Operator;

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
