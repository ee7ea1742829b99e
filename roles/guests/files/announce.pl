# Ansible managed: role our.cloud.guests
#
# libvirt calls this hook when a Xen guest is complete on this host and about to
# resume; the source host has stopped it. The hook tells the LAN that the guest's
# MAC address is now here: it deletes the bridge's old entries for that address
# and sends RARP requests from it, as QEMU does for its guests. In Perl, because
# Perl starts fast and the guest waits.
use strict;
use warnings;
use Socket;

use constant { AF_PACKET => 17, ETH_P_RARP => 0x8035, ROUNDS => 8 };

my ($guest, $operation) = @ARGV;
my $xml = do { local $/; <STDIN> } // '';
exit 0 unless ($operation // '') eq 'started';

my @cards;
while ($xml =~ m{<interface type='bridge'>(.*?)</interface>}sg) {
    my $card = $1;
    my ($mac) = $card =~ /<mac address='([0-9a-f:]{17})'/;
    my ($bridge) = $card =~ /<source bridge='([^'\/]+)'/;
    push @cards, [$mac, $bridge] if $mac && $bridge && -d "/sys/class/net/$bridge/brif";
}
exit 0 unless @cards;

sub announce {
    my ($socket) = @_;
    for (@cards) {
        my ($mac, $bridge) = @$_;
        open(my $file, '<', "/sys/class/net/$bridge/ifindex") or next;
        my $index = <$file> + 0;
        my $sender = pack('H12', $mac =~ tr/://dr);
        my $frame = "\xff" x 6 . $sender . pack('n', ETH_P_RARP)
            . pack('nnCCn', 1, 0x0800, 6, 4, 3) . $sender . "\0" x 4 . $sender . "\0" x 4;
        $frame .= "\0" x (60 - length $frame);
        # struct sockaddr_ll
        send($socket, $frame, 0, pack('SnlSCCa8', AF_PACKET, ETH_P_RARP, $index, 1, 0, 6, "\xff" x 6));
    }
}

# The bridge's entries from when the guest was elsewhere would send its frames back out.
open(my $errors, '>&', \*STDERR);
open(STDERR, '>', '/dev/null');
for (@cards) {
    my ($mac, $bridge) = @$_;
    opendir(my $ports, "/sys/class/net/$bridge/brif") or next;
    for my $port (grep { !/^(?:[.]|vif|vm-)/ } readdir $ports) {
        # with separate arguments, no shell interprets the names
        system('bridge', 'fdb', 'del', $mac, 'dev', $port, 'master');
    }
}
open(STDERR, '>&', $errors);
close($errors);

socket(my $socket, AF_PACKET, SOCK_RAW, 0) or exit 0;
announce($socket);

# libvirt waits until its pipes are closed. Frames may get lost, so a child repeats them.
exit 0 if fork;
open(STDIN, '<', '/dev/null');
open(STDOUT, '>', '/dev/null');
open(STDERR, '>', '/dev/null');
for my $round (1 .. ROUNDS) {
    select(undef, undef, undef, 0.1 * $round);
    announce($socket);
}
