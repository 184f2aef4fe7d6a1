package s3snapshots_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/s3snapshots"
)

func Example() {
	ctx := context.Background()
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	store, err := s3snapshots.New(s3snapshots.Config{
		Client: s3.NewFromConfig(c),
		Bucket: "acme-berth",
		Prefix: "ci", // one for each pool
	})
	if err != nil {
		log.Fatal(err)
	}
	for s, err := range store.List(ctx, orchestrator.SnapshotLayer) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Name, s.Size, s.Stored)
	}
}
