package ec2cloud

import (
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// readSpotPrice returns the newest price of a market; 0 = there is none.
func readSpotPrice(at spotMarket) func(*ec2.DescribeSpotPriceHistoryOutput) (float64, error) {
	return func(out *ec2.DescribeSpotPriceHistoryOutput) (usd float64, err error) {
		var newest time.Time
		for _, x := range out.SpotPriceHistory {
			if string(x.InstanceType) != at.typ || aws.ToString(x.AvailabilityZone) != at.zone {
				continue // an emulator may ignore the filters
			}
			if when := aws.ToTime(x.Timestamp); usd == 0 || when.After(newest) {
				price, err := strconv.ParseFloat(aws.ToString(x.SpotPrice), 64)
				if err != nil {
					return 0, err
				}
				usd, newest = price, when
			}
		}
		return usd, nil
	}
}
