//go:build !old

package main

import (
	"github.com/IBM/sarama"
	"milena.test/clients/plan"
)

var protocol = sarama.MaxVersion

func strategies() []sarama.BalanceStrategy {
	return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange(), sarama.NewBalanceStrategyRoundRobin(),
		sarama.NewBalanceStrategySticky()}
}

// staticMember restarts a static member within its session: it keeps its partitions.
func staticMember(p *plan.Plan, admin sarama.ClusterAdmin) {
	group := p.Named("static")
	as := func(instance string) *member {
		config := config()
		config.Consumer.Group.InstanceId = instance
		return join(p, group, config, ignore)
	}
	one, two := as("instance-0"), as("instance-1")
	plan.Until("two static members share the partitions", func() bool { return plan.Halves(one.owned(), two.owned()) })
	had := two.owned()
	two.leave()
	two = as("instance-1")
	plan.Until("the static member is back", func() bool { return plan.Halves(one.owned(), two.owned()) })
	plan.Equal("partitions of the static member that came back", two.owned(), had)
	described, err := admin.DescribeConsumerGroups([]string{group})
	plan.Ok("describe the group", err)
	plan.Equal("members", len(described[0].Members), 2)
	one.leave()
	two.leave()
	_, err = admin.RemoveMemberFromConsumerGroup(group, []string{"instance-0", "instance-1"})
	plan.Ok("remove the static members", err)
}
