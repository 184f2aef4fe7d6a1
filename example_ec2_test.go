package berth_test

import (
	"context"
	"fmt"
	"log"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store/memstore"
)

// A pool on EC2. The README shows this Config; examples/aws is a whole program.
func ExampleNewEC2SharedProvider() {
	ctx := context.Background()
	p, err := berth.NewEC2SharedProvider(ctx, berth.Config{
		Name:         "ci",
		MaxInstances: 5, // whatever may cost money counts
		InstanceType: "m7i.large",
		Store:        memstore.New(), // a choice: nobody finds the sessions after a restart
		EC2: berth.EC2Config{
			Subnets:        []string{"subnet-0a…", "subnet-0b…"}, // default: those of the default VPC
			SecurityGroups: []string{"sg-0c…"},
			Spot:           ec2cloud.SpotFirst, // default: on demand
		},
	})
	if err != nil {
		log.Fatal(err) // it lists all that is in the way
	}
	defer p.Destroy(ctx) // ends the instances, too
	fmt.Println(p.Stats().Pool)
}
