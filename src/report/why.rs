//! The reason for the confidence, in a sentence or two.

use crate::registration::{Details, Evidence, Registration, Status};

/// A rival whose log-odds come this close to the answer's casts doubt on it.
const CLOSE: f64 = 1.0;
/// Beyond this lead the factor is too large to mean anything.
const LONG: f64 = 7.0;

/// Why the answer was accepted or rejected.
pub fn sentence(registration: &Registration, details: &Details) -> String {
    let found = details.evidence.first().map(|evidence| what_speaks_for(evidence, details));
    let rivals = rivals(&details.evidence);
    let reason = match registration.status {
        Status::Accepted => String::new(),
        Status::Rejected => capitalised(&registration.reason) + ".",
    };
    [Some(reason), found, rivals]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn what_speaks_for(evidence: &Evidence, details: &Details) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    format!(
        "{} of {} matches agree with the transform; {} of the source lies on the target's surface; {} of it stands where \
         the target's sensor looked through.",
        evidence.inliers,
        details.matches.len(),
        percent(evidence.source_overlap),
        percent(evidence.source_in_front),
    )
}

fn rivals(evidence: &[Evidence]) -> Option<String> {
    let (answer, others) = evidence.split_first()?;
    let Some(rival) = others.first() else {
        return Some("No other transform came into question.".into());
    };
    let lead = answer.log_odds - rival.log_odds;
    if lead < CLOSE {
        return Some("Another transform fits about as well.".into());
    }
    let times = if lead < LONG { format!("{:.0} times", lead.exp()) } else { "far".into() };
    Some(format!("The next best transform has {} of the matches and is {times} less likely.", rival.inliers))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::Example;

    #[test]
    fn an_accepted_answer_tells_what_speaks_for_it() {
        let Example { registration, details, .. } = Example::new();
        let text = sentence(&registration, &details);
        assert!(text.starts_with("40 of 60 matches agree"), "{text}");
        assert!(
            text.ends_with("The next best transform has 4 of the matches and is far less likely."),
            "{text}"
        );
    }

    #[test]
    fn a_rejected_answer_tells_the_reason_first() {
        let Example { mut registration, mut details, .. } = Example::new();
        let closer = Evidence { log_odds: 3.0, ..details.evidence[1] };
        let near = rivals(&[details.evidence[0], closer]).unwrap();
        assert!(near.ends_with("is 7 times less likely."), "{near}");
        registration.status = Status::Rejected;
        registration.reason = "nothing fits".into();
        details.evidence[1].log_odds = 4.9;
        let text = sentence(&registration, &details);
        assert!(
            text.starts_with("Nothing fits. 40 of 60") && text.ends_with("fits about as well."),
            "{text}"
        );
        assert_eq!(sentence(&registration, &Details::default()), "Nothing fits.");
    }
}
