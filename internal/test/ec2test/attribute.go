package ec2test

import (
	"encoding/base64"
	"time"
)

type xmlText struct {
	Value string `xml:"value,omitempty"`
}

type xmlFlag struct {
	Value bool `xml:"value"`
}

// asked reads the last parameters of a call that asks about one instance, and returns the instance.
func (s *Server) asked(p params, id string, now time.Time) (*instance, error) {
	p.boolean("DryRun", false)
	if err := p.done(); err != nil {
		return nil, err
	}
	found, err := s.named([]string{id}, now)
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

func (s *Server) describeInstanceAttribute(p params, now time.Time) (any, error) {
	id := p.required("InstanceId")
	name := p.oneOf("Attribute", "", "userData", "disableApiTermination", "instanceInitiatedShutdownBehavior", "instanceType")
	i, err := s.asked(p, id, now)
	if err != nil {
		return nil, err
	}
	out := &struct {
		head
		Instance  string   `xml:"instanceId"`
		UserData  *xmlText `xml:"userData"`
		Protected *xmlFlag `xml:"disableApiTermination"`
		Shutdown  *xmlText `xml:"instanceInitiatedShutdownBehavior"`
		Type      *xmlText `xml:"instanceType"`
	}{Instance: id}
	switch name {
	case "userData":
		out.UserData = &xmlText{base64.StdEncoding.EncodeToString(i.launch.userData)}
	case "disableApiTermination":
		out.Protected = &xmlFlag{i.protected}
	case "instanceInitiatedShutdownBehavior":
		out.Shutdown = &xmlText{i.launch.shutdown}
	case "instanceType":
		out.Type = &xmlText{i.launch.typ.name}
	default:
		return nil, fail("MissingParameter", "The request must contain the parameter Attribute")
	}
	return out, nil
}

func (s *Server) modifyInstanceMetadataOptions(p params, now time.Time) (any, error) {
	id, dry := p.required("InstanceId"), p.dry()
	if err := p.err; err != nil {
		return nil, err
	}
	found, err := s.named([]string{id}, now)
	if err != nil {
		return nil, err
	}
	i := found[0]
	m := readMetadata(p, "", i.imds)
	if err := p.done(); err != nil {
		return nil, err
	}
	if dry != nil {
		return nil, dry
	}
	if state := i.state(now, 0); state == Terminated || state == ShuttingDown {
		return nil, fail("IncorrectInstanceState", "The instance '%s' is not in a state in which its metadata options can be changed", id)
	}
	i.imds = m
	return &struct {
		head
		Instance string      `xml:"instanceId"`
		Metadata xmlMetadata `xml:"instanceMetadataOptions"`
	}{Instance: id, Metadata: metadataOf(m, "pending")}, nil
}

func (s *Server) getConsoleOutput(p params, now time.Time) (any, error) {
	id := p.required("InstanceId")
	p.boolean("Latest", false)
	i, err := s.asked(p, id, now)
	if err != nil {
		return nil, err
	}
	out := &struct {
		head
		Instance string `xml:"instanceId"`
		Printed  string `xml:"timestamp"`
		Output   string `xml:"output,omitempty"`
	}{Instance: id, Printed: stamp(now)}
	if i.console != "" {
		out.Printed = stamp(i.printed)
		out.Output = base64.StdEncoding.EncodeToString([]byte(i.console))
	}
	return out, nil
}
