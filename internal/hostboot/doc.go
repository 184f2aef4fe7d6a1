// Package hostboot turns a stock machine image into a Docker host of one pool: it makes the identity of a launch, what
// the machine runs at its first boot, and the settings of a client that connects to it and to no other.
//
// # Who is who
//
// [Boot] makes a certificate authority that lives for one call, and with it one server certificate, whose name is made
// from the launch ID. The authority's key is forgotten; its certificate is the launch's trust. A client accepts that
// authority and that name alone, whatever the address, so a machine that was given the address of ours cannot pass for
// it. The other way round, hosts accept the pool's client authority ([NewClientCA]), of which they know the public part,
// and [Clients] makes certificates from it that live in memory and for a day. On the machine is no private key but that
// of its own certificate. Whoever may read the user data of the machine, by ec2:DescribeInstanceAttribute or on the
// machine, can pass for that one machine until its certificate expires, and for nothing else.
//
// # What runs on the machine
//
// The user data is a shell script. Amazon Linux and Ubuntu run one the same way, while the modules of a cloud-config
// run in an order of their own and install packages before anybody looks whether Docker is there already. It is plain
// text, so that it can be read where EC2 shows it. It writes files and starts one unit, berth-boot.service, that does the
// rest. The unit is no part of cloud-init for three reasons: some images of ECS start Docker only after cloud-init has
// ended, so a script of cloud-init that waits for Docker waits for ever; systemd itself powers the machine off when
// the unit fails or takes too long; and it runs again after a reboot in the midst of it, which a script of cloud-init
// does not. Machines are launched so that they are terminated when they power off.
//
// berth-boot does everything else first, and then writes Docker's settings and starts Docker. Before, Docker listens on
// a unix socket if at all. So a TLS handshake with the name of the launch, and its label on the engine, mean that the
// machine is ready. All that is said goes to the machine's console too. After a reboot the machine comes up as it was.
//
// # What stays on the machine
//
//   - berth-firewall drops what containers send to the metadata service and to Docker's own port. It runs before each
//     start of Docker, which does not start without it. The rules stand in the table raw, before all others: they need
//     no chain of Docker's, hold for any version of it, and for packets to the machine and through it alike. What the
//     machine itself sends does not pass there. A container on the network of the host is not held; berth makes none.
//   - berth-dead-man powers the machine off when no manager has touched it for [Options.DeadMan]. A manager touches a
//     host by creating the volume [TouchVolume], again and again: that is one call, which does nothing while the volume
//     is there. The machine looks every five minutes, removes the volume and notes its own uptime, so no two clocks are
//     compared. Only an authenticated client, or root, can create a volume. Connections to the port would be no proof:
//     a stranger can hold one open without a certificate, and a manager between two calls has none. Sessions need no
//     rule of their own: while a manager lives it touches, and without one they end.
//   - berth-notice asks the metadata service every five seconds, as AWS advises, what is going to happen to the machine,
//     and creates a volume with the label [LabelNotice] for it: managers see it through the Docker API that they use
//     anyway. It is a loop and no timer, which would fill the journal.
//   - Upgrades that would restart Docker, and the agent of ECS, are masked.
package hostboot
