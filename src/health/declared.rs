//! Rules that an Application declares, as expressions over the live object.

use crate::model::{Health, HealthRule, HealthStatus, Object};

/// Asks degraded, suspended, healthy, progressing, in that order; the first that is true counts. When none is, the
/// object is on its way; when one cannot be told, neither can the object's health.
pub(super) fn judge(rule: &HealthRule, object: &Object) -> Health {
    let asked = [
        (&rule.degraded, HealthStatus::Degraded, "degraded"),
        (&rule.suspended, HealthStatus::Suspended, "suspended"),
        (&rule.healthy, HealthStatus::Healthy, "healthy"),
        (&rule.progressing, HealthStatus::Progressing, "progressing"),
    ];
    for (expression, status, name) in asked {
        let Some(expression) = expression else { continue };
        match expression.evaluate(&[&object.body]) {
            Ok(true) if status == HealthStatus::Healthy => return Health::healthy(),
            Ok(true) => return Health::new(status, format!("the declared rule `{name}` holds")),
            Ok(false) => {}
            Err(fault) => {
                return Health::new(
                    HealthStatus::Unknown,
                    format!("the declared rule `{name}` cannot be told: {fault}"),
                );
            }
        }
    }
    Health::new(HealthStatus::Progressing, "none of the declared rules holds")
}
