//! What clients are told of topics that were to be made because they asked for them.

use milena_metadata::Image;
use milena_protocol::ErrorCode;

use crate::config::BrokerConfig;

/// The client's answer where a creation was refused. A cluster that is just starting is short of brokers for a moment:
/// while it has neither a topic nor as many brokers as `controller.quorum.voters`, that there are too few is no reason
/// to give up. Later there may be fewer for good: the list stays where brokers are taken away.
pub fn answer(refused: ErrorCode, config: &BrokerConfig, image: &Image) -> ErrorCode {
    match refused {
        ErrorCode::InvalidReplicationFactor if is_starting(config, image) => {
            ErrorCode::LeaderNotAvailable
        }
        refused => refused,
    }
}

fn is_starting(config: &BrokerConfig, image: &Image) -> bool {
    image.topics().next().is_none() && image.brokers().count() < config.quorum.voters.len()
}

#[cfg(test)]
mod tests {
    use milena_metadata::{NoConfigRules, decide};

    use super::*;
    use crate::broker::tests::beside::registration;
    use crate::config::Sources;

    #[test]
    fn while_a_voter_has_never_been_here_too_few_brokers_are_no_last_word() {
        let voters = "1@a:9091,2@b:9091,3@c:9091";
        let listeners = "PLAINTEXT://:9092,PEERS://:9091";
        let set = [
            ("listeners", listeners),
            ("controller.quorum.voters", voters),
        ];
        let config = Sources::of(&set).load().unwrap().0;
        let mut image = Image::default();
        let told = |image: &Image, refused| answer(refused, &config, image);
        for id in 1..=3 {
            let too_few = told(&image, ErrorCode::InvalidReplicationFactor);
            assert_eq!(too_few, ErrorCode::LeaderNotAvailable);
            let other = told(&image, ErrorCode::InvalidPartitions);
            assert_eq!(other, ErrorCode::InvalidPartitions);
            let decided = decide(&image, &registration(id).into(), &NoConfigRules).unwrap();
            image.apply_entry(1, &decided.records).unwrap();
        }
        let too_few = told(&image, ErrorCode::InvalidReplicationFactor);
        assert_eq!(too_few, ErrorCode::InvalidReplicationFactor);
    }
}
