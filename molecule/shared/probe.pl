# Frames of a guest that behaves and of one that does not, and who sees them. In Perl, which every Debian has.
#
# CARD is a network interface or its MAC address; if a bridge has that one, too, the bridge.
#
#   probe.pl watch CARD SECONDS                     prints "ready", then the labels of the frames that come in, one a line, until "end"
#   probe.pl send CARD KEY=VALUE...                 sends one frame of each label, "end" last, and prints which of them may leave a guest
#   probe.pl connect SECONDS HOST PORT...           prints HOST, PORT and what became of it, one a line: open, refused or silent
#
# send: gateway_mac, gateway, node_mac, node, other_mac, other (anybody else); address, if it is not the card's.
use strict;
use warnings;
use Errno;
use Socket;

use constant { AF_PACKET => 17, ETH_P_ALL => 3 };
use constant EVERYBODY => 'ff:ff:ff:ff:ff:ff';

$| = 1;
my ($verb, @arguments) = @ARGV;
my %verbs = (watch => \&watch, send => \&send_all, connect => \&try_connect);
($verbs{$verb // ''} or die "usage: probe.pl watch|send|connect\n")->(@arguments);

sub slurp { my ($path) = @_; open(my $file, '<', $path) or die "$path: $!\n"; my $line = <$file>; chomp $line; return $line; }
sub mac { return pack('H12', $_[0] =~ tr/://dr); }
sub card {
    my ($name) = @_;
    return $name unless $name =~ /:/;
    my @found = grep { slurp("$_/address") eq lc $name } glob '/sys/class/net/*';
    my ($card) = ((grep { -d "$_/bridge" } @found), @found) or die "no interface has the MAC address $name\n";
    return $card =~ s{.*/}{}r;
}
sub packet_socket {
    my ($interface) = @_;
    socket(my $socket, AF_PACKET, SOCK_RAW, unpack('S', pack('n', ETH_P_ALL))) or die "packet socket: $!\n";
    bind($socket, pack('SnlSCCa8', AF_PACKET, ETH_P_ALL, slurp("/sys/class/net/$interface/ifindex"), 0, 0, 0, '')) or die "$interface: $!\n";
    return $socket;
}

sub watch {
    my ($card, $seconds) = @_;
    my $interface = card($card);
    my $socket = packet_socket($interface);
    my %seen;
    print "ready\n";
    local $SIG{ALRM} = sub { die "$interface: the last frame has not come in $seconds s\n" };
    alarm $seconds;
    while (!$seen{end}) {
        recv($socket, my $frame, 4096, 0);
        next unless $frame =~ /OCP:([a-z0-9-]+);/;
        print "$1\n" unless $seen{$1}++;
    }
}

# All at once, a process each.
sub try_connect {
    my ($seconds, @targets) = @_;
    while (my ($host, $port) = splice @targets, 0, 2) {
        next if fork // die "fork: $!\n";
        socket(my $socket, PF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
        my $target = pack_sockaddr_in($port, inet_aton($host) // die "$host: no such name\n");
        local $SIG{ALRM} = sub { print "$host $port silent\n"; exit 0 };
        alarm $seconds;
        my $result = connect($socket, $target) ? 'open' : $!{ECONNREFUSED} ? 'refused' : 'silent';
        print "$host $port $result\n";
        exit 0;
    }
    1 while wait != -1;
}

sub checksum {
    my ($data) = @_;
    $data .= "\0" if length($data) % 2;
    my $sum = 0;
    $sum += $_ for unpack('n*', $data);
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return ~$sum & 0xffff;
}

sub arp {
    my ($operation, $mac, $address, $target) = @_;
    return (0x0806, pack('nnCCn', 1, 0x0800, 6, 4, $operation) . mac($mac) . inet_aton($address) . mac('00:00:00:00:00:00') . inet_aton($target));
}

sub ip {
    my ($source, $target, $protocol, $payload, $fragment) = @_;
    my $header = pack('CCnnnCCna4a4', 0x45, 0, 0, 4711, $fragment // 0, 64, $protocol, 0, inet_aton($source), inet_aton($target));
    return (0x0800, $header . $payload);
}

sub udp { my ($from, $to, $payload) = @_; return pack('nnnn', $from, $to, 8 + length $payload, 0) . $payload; }
sub tcp { my ($from, $to, $flags) = @_; return pack('nnNNCCnnn', $from, $to, 1, 1, 0x50, $flags, 1024, 0, 0); }
sub dhcp { my ($operation, $mac) = @_; return pack('CCCCNnn', $operation, 1, 6, 0, 4711, 0, 0x8000) . "\0" x 16 . mac($mac) . "\0" x 202 . "\x63\x82\x53\x63\xff"; }

sub link_local { my ($mac) = @_; my $raw = mac($mac); return pack('H16', 'fe80' . '0' x 12) . (substr($raw, 0, 1) ^ "\x02") . substr($raw, 1, 2) . "\xff\xfe" . substr($raw, 3, 3); }

sub ip6 {
    my ($source, $target, $next, $payload) = @_;
    # Its checksum is the first field that ICMPv6 has after type and code.
    substr($payload, 2, 2) = pack('n', checksum($source . $target . pack('NN', length $payload, $next) . $payload)) if $next == 58;
    return (0x86dd, pack('NnCC', 6 << 28, length $payload, $next, 255) . $source . $target . $payload);
}

# Inside of IP packets, for bridges may cut off what comes after them; in the header where the data's length matters.
sub labelled {
    my ($type, $payload, $label) = @_;
    if ($type == 0x86dd) {
        substr($payload, 4, 2) = pack('n', unpack('x4n', $payload) + length $label);
    } elsif ($type == 0x0800 && unpack('x6n', $payload) & 0x2000) {
        my $option = pack('CC', 0x9e, 2 + length $label) . $label;
        $option .= "\0" x (-length($option) % 4);
        my ($header, $data) = (substr($payload, 0, 20) . $option, substr($payload, 20));
        substr($header, 0, 1) = pack('C', 0x40 + length($header) / 4);
        return sealed($header, $data);
    } elsif ($type == 0x0800) {
        return sealed(substr($payload, 0, 20), substr($payload, 20) . $label);
    } else {
        $payload .= "\0" x (46 - length $payload) if length $payload < 46;
    }
    return $payload . $label;
}

# An IPv4 packet with its length and its header's checksum.
sub sealed {
    my ($header, $data) = @_;
    substr($header, 2, 2) = pack('n', length($header) + length $data);
    substr($header, 10, 2) = "\0\0";
    substr($header, 10, 2) = pack('n', checksum($header));
    return $header . $data;
}

sub send_all {
    my ($card, @settings) = @_;
    my $interface = card($card);
    my %at = map { split /=/, $_, 2 } @settings;
    my $own = slurp("/sys/class/net/$interface/address");
    my $socket = packet_socket($interface);
    ($at{address}) = `ip -4 -oneline address show dev $interface` =~ /inet ([0-9.]+)/ or die "$interface has no address\n" unless $at{address};
    my $stranger = '00:16:3e:7f:fe:01';
    my ($all_nodes, $all_dhcp) = map { pack 'H32', $_ } 'ff020000000000000000000000000001', 'ff020000000000000000000000010002';
    my ($me, $them, $node) = map { link_local($_) } $own, $at{other_mac}, $at{node_mac};
    my @may = (
        ['arp-own', $own, EVERYBODY, arp(1, $own, $at{address}, $at{address})],
        ['arp-probe', $own, EVERYBODY, arp(1, $own, '0.0.0.0', $at{address})],
        ['rarp-own', $own, EVERYBODY, 0x8035, (arp(3, $own, '0.0.0.0', '0.0.0.0'))[1]],
        ['world', $own, $at{gateway_mac}, ip($at{address}, '203.0.113.9', 17, udp(40000, 9, 'x'))],
        ['dns', $own, $at{gateway_mac}, ip($at{address}, $at{gateway}, 17, udp(40000, 53, 'x'))],
        ['dhcp-own', $own, EVERYBODY, ip('0.0.0.0', '255.255.255.255', 17, udp(68, 67, dhcp(1, $own)))],
        ['ping-node', $own, $at{node_mac}, ip($at{address}, $at{node}, 1, pack('CCnnn', 8, 0, ~0x0800 & 0xffff, 0, 0))],
        ['answer-node', $own, $at{node_mac}, ip($at{address}, $at{node}, 6, tcp(22, 40000, 0x12))],
        ['neighbour-own', $own, '33:33:00:00:00:01', ip6($me, $all_nodes, 58, pack('CCnN', 136, 0, 0, 0x20000000) . $me)],
    );
    my @must_not = (
        ['arp-gateway', $own, EVERYBODY, arp(1, $own, $at{gateway}, $at{gateway})],
        ['arp-node', $own, EVERYBODY, arp(2, $own, $at{node}, $at{node})],
        ['arp-other', $own, EVERYBODY, arp(1, $own, $at{other}, $at{other})],
        ['arp-sender', $own, EVERYBODY, arp(1, $at{gateway_mac}, $at{address}, $at{address})],
        ['arp-probe-node', $own, EVERYBODY, arp(1, $own, '0.0.0.0', $at{node})],
        ['mac-stranger', $stranger, EVERYBODY, arp(1, $stranger, $at{address}, $at{address})],
        ['ip-gateway', $own, $at{node_mac}, ip($at{gateway}, $at{node}, 17, udp(40000, 40000, 'x'))],
        ['ip-other', $own, $at{gateway_mac}, ip($at{other}, '203.0.113.9', 17, udp(40000, 9, 'x'))],
        ['dhcp-offer', $own, EVERYBODY, ip($at{address}, '255.255.255.255', 17, udp(67, 68, dhcp(2, $at{node_mac})))],
        ['dhcp-other', $own, EVERYBODY, ip('0.0.0.0', '255.255.255.255', 17, udp(68, 67, dhcp(1, $at{other_mac})))],
        ['redirect', $own, $at{node_mac}, ip($at{address}, $at{node}, 1, pack('CCn', 5, 1, 0) . inet_aton($at{address}) . "\0" x 28)],
        (map { ["node-$_", $own, $at{node_mac}, ip($at{address}, $at{node}, 6, tcp(40000, $_, 2))] } 22, 111, 2049, 16514, 49152),
        (map { ["gateway-$_", $own, $at{gateway_mac}, ip($at{address}, $at{gateway}, 6, tcp(40000, $_, 2))] } 22, 2049),
        # The beginning of a connection in two pieces: the ports in the first one, its purpose in the second.
        ['node-pieces', $own, $at{node_mac}, ip($at{address}, $at{node}, 6, substr(tcp(40000, 22, 2), 0, 8), 0x2000)],
        ['node-rest', $own, $at{node_mac}, ip($at{address}, $at{node}, 6, substr(tcp(40000, 22, 2), 8), 1)],
        ['node-tunnel', $own, $at{node_mac}, ip($at{address}, $at{node}, 17, udp(40000, 6081, 'x'))],
        ['everybody-tunnel', $own, EVERYBODY, ip($at{address}, '255.255.255.255', 17, udp(40000, 6081, 'x'))],
        ['node-elsewhere', $own, $at{node_mac}, ip($at{address}, '203.0.113.9', 6, tcp(40000, 22, 2))],
        ['router', $own, '33:33:00:00:00:01', ip6($me, $all_nodes, 58, pack('CCnCCnNN', 134, 0, 0, 64, 0, 1800, 0, 0))],
        ['dhcp6-answer', $own, '33:33:00:00:00:01', ip6($me, $all_nodes, 17, udp(547, 546, 'x'))],
        ['dhcp6-question', $own, '33:33:00:01:00:02', ip6($me, $all_dhcp, 17, udp(546, 547, 'x'))],
        ['neighbour-other', $own, '33:33:00:00:00:01', ip6($me, $all_nodes, 58, pack('CCnN', 136, 0, 0, 0x20000000) . $them)],
        ['ip6-other', $own, '33:33:00:00:00:01', ip6($them, $all_nodes, 58, pack('CCnNa8', 128, 0, 0, 0, 'x'))],
        ['ip6-node', $own, $at{node_mac}, ip6($me, $node, 6, tcp(40000, 22, 2))],
        ['tagged', $own, EVERYBODY, 0x8100, pack('nn', 7, 0x0806) . (arp(1, $own, $at{address}, $at{address}))[1]],
        ['spanning-tree', $own, '01:80:c2:00:00:00', 38, "\x42\x42\x03" . "\0" x 35],
        # Late, since bridges that let it through send what is for the gateway to the guest from now on.
        ['mac-gateway', $at{gateway_mac}, EVERYBODY, arp(1, $at{gateway_mac}, $at{gateway}, $at{gateway})],
    );
    my $end = ['end', $own, EVERYBODY, arp(1, $own, $at{address}, $at{address})];
    for ((map { ['may', @$_] } @may), (map { ['must-not', @$_] } @must_not), ['may', @$end]) {
        my ($way, $label, $from, $to, $type, $payload) = @$_;
        my $frame = mac($to) . mac($from) . pack('n', $type) . labelled($type, $payload, "OCP:$label;");
        send($socket, $frame, 0) // die "$label: $!\n";
        print "$label $way\n";
    }
}
