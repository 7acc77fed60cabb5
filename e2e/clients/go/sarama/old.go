//go:build old

package main

import (
	"github.com/IBM/sarama"
	"milena.test/clients/plan"
)

var protocol = sarama.V2_7_0_0

func strategies() []sarama.BalanceStrategy {
	return []sarama.BalanceStrategy{sarama.BalanceStrategyRange, sarama.BalanceStrategyRoundRobin,
		sarama.BalanceStrategySticky}
}

// staticMember: sarama 1.28 has none.
func staticMember(*plan.Plan, sarama.ClusterAdmin) {}
