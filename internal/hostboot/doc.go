// Package hostboot turns a stock machine image into a Docker host of one pool. It makes the identity of a launch, the
// program that the machine runs at its first boot, and the settings of a client that connects to that machine only.
//
// # Identities
//
// [Boot] makes a certificate authority that exists only during the call, and with it one server certificate, whose name is
// made from the launch ID. The authority's key is discarded; its certificate is the launch's trust. A client accepts only
// that authority and that name, whatever the address. So a machine that was given the address of one of the pool's
// machines cannot pass for it. In the other direction, hosts accept the pool's client authority ([NewClientCA]), of which
// they have only the certificate. [Clients] makes certificates from that authority, which it keeps in memory and which are
// valid for a day. The only private key on the machine is that of its own certificate. Somebody who may read the user data
// of the machine, by ec2:DescribeInstanceAttribute or on the machine, can pass for that one machine until its certificate
// expires, and for nothing else.
//
// # The programs on the machine
//
// The user data is a shell script. Amazon Linux and Ubuntu run scripts in the same way, while the modules of a
// cloud-config run in an order of their own, and install packages before a script can look whether Docker is already
// there. The script is plain text, so that it can be read where EC2 shows it, unless it is too long for that. It writes files and starts one unit,
// berth-boot.service, which does the rest. The unit is not part of cloud-init, for three reasons. Some images of ECS
// start Docker only after cloud-init has ended, so a script of cloud-init that waits for Docker would never end.
// systemd itself powers the machine off if the unit fails or takes too long. And the unit runs again after a reboot
// during the bootstrap, which a script of cloud-init does not. Machines are launched so that they are terminated when
// they power off.
//
// berth-boot does everything else before it writes Docker's settings and starts Docker. Until then, Docker listens on a
// unix socket or not at all. So a TLS handshake with the name of the launch, and its label on the engine, prove that the
// machine is ready. All messages go to the machine's console too. After a reboot the machine comes up in the same state.
//
// # What stays on the machine
//
//   - berth-firewall drops packets of containers to the metadata service and to Docker's own port. It runs before each
//     start of Docker, which does not start without it. The rules are in the table raw, before all others: they need no
//     chain of Docker's, hold for any version of it, and for packets to the machine and through it alike. Packets that the
//     machine itself sends do not pass that table. The rules do not hold for a container on the network of the host;
//     berth makes no such container.
//   - berth-dead-man powers the machine off if no manager has touched it for [Options.DeadMan]. A manager touches a host
//     by creating the volume [TouchVolume] again and again: this is one call, which does nothing while the volume exists.
//     The machine looks every five minutes, or at a fifth of a shorter DeadMan, removes the volume and records its own
//     uptime, so no two clocks are compared. The time begins with the first look after a boot, so that a slow bootstrap
//     does not use it up. Only an authenticated client, or root, can create a volume. Connections to the port would prove
//     nothing: anybody can hold one open without a certificate, and a manager between two calls has none. Sessions need no
//     rule of their own: while a manager lives it touches the host, and without a manager they end.
//   - berth-notice asks the metadata service every five seconds, as AWS advises, for notices about the machine. For each it
//     creates a volume with the label [LabelNotice], which managers see through the Docker API that they use anyway. It is
//     a loop and not a timer, which would fill the journal.
//   - berth-disk gives Docker's volumes a file system with project quotas, unless [Options.DiskGiB] is -1 and there is no
//     [Options.Disk]. It takes the volumes only, and not all of Docker's data: that is where sessions write, images that are
//     there stay in use, and containerd, where newer versions of Docker keep images, needs no disk of its own. It runs after
//     the pool's own script, which may bring images or mount something there, and it hides no volume. The file that it makes
//     has all its blocks, because a file system loses data if the file below cannot grow. Everything that may fail does so
//     before Docker uses the file system: then the machine goes on without. Later, Docker does not start without it.
//   - Upgrades that would restart Docker, and the agent of ECS, are masked.
//
// # Tests
//
// Tests boot Debian with its systemd, cloud-init and Docker from the user data alone, as a container of systemd-nspawn:
// see TestSystemdMachine. Differences of Amazon Linux and Ubuntu are tested with programs that stand in for theirs,
// because neither Amazon Linux nor its kernel is available outside EC2.
package hostboot
