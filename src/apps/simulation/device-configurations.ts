/** What simulated devices are configured with when they are new. Every secret in here is made up. */

export function iosConfiguration(hostname: string): string {
  const ports = Array.from({ length: 20 }, (_, i) => accessPort(i + 1))
  return `version 17.9
service timestamps debug datetime msec
service timestamps log datetime msec
service password-encryption
service sequence-numbers
!
hostname ${hostname}
!
boot-start-marker
boot-end-marker
!
vrf definition Mgmt-vrf
 !
 address-family ipv4
 exit-address-family
!
logging buffered 65536 informational
no logging console
enable secret 9 $9$nH1jDkq2o4wGfE$8sQkM2lUeYxXrVtOaPpLcN0bZ7d
!
aaa new-model
!
aaa group server tacacs+ CENTRAL
 server-private 192.0.2.49 key 7 04690A0E17245E4B3C11
 ip tacacs source-interface Vlan99
!
aaa authentication login default group CENTRAL local
aaa authorization exec default group CENTRAL local if-authenticated
aaa accounting commands 15 default start-stop group CENTRAL
aaa session-id common
!
clock timezone UTC 0 0
no ip domain lookup
ip domain name example.net
!
login on-success log
vtp mode transparent
!
username netops privilege 15 secret 9 $9$kPz7TbW3mXqR1E$Yc5uJ0hVnGfLsDoA4iKe2tBx
username auditor privilege 1 password 7 13061E010803557878
!
spanning-tree mode rapid-pvst
spanning-tree extend system-id
!
key chain OSPF-KEYS
 key 1
  key-string 7 110A1016141D5A5E57
!
vlan 10
 name users
!
vlan 20
 name voice
!
vlan 99
 name management
!
class-map match-any VOICE
 match ip dscp ef
!
policy-map UPLINK
 class VOICE
  priority percent 20
 class class-default
  fair-queue
!
${ports.join('\n')}
interface GigabitEthernet1/0/23
 description to core, first
 no switchport
 ip address 198.51.100.2 255.255.255.252
 ip flow monitor KEEPWATCH input
 ip ospf authentication key-chain OSPF-KEYS
 service-policy output UPLINK
!
interface GigabitEthernet1/0/24
 description to core, second
 no switchport
 ip address 198.51.100.6 255.255.255.252
 ip flow monitor KEEPWATCH input
 ip ospf message-digest-key 1 md5 7 070C285F4D06485744
!
interface Vlan10
 ip address 10.10.10.1 255.255.255.0
 standby 10 ip 10.10.10.254
 standby 10 authentication md5 key-string 7 0822455D0A165445
!
interface Vlan99
 ip address 192.0.2.11 255.255.255.0
!
router ospf 1
 router-id 192.0.2.11
 passive-interface Vlan10
 network 10.10.10.0 0.0.0.255 area 0
 network 198.51.100.0 0.0.0.7 area 0
!
router bgp 64512
 bgp log-neighbor-changes
 neighbor 198.51.100.1 remote-as 64500
 neighbor 198.51.100.1 password 7 045A0F0B062F495C1D
!
ip route 0.0.0.0 0.0.0.0 198.51.100.1
!
logging origin-id hostname
logging host 192.0.2.50
!
snmp-server community kw-made-up-ro RO 5
snmp-server location simulated
snmp-server host 192.0.2.50 version 2c kw-made-up-trap
!
banner login ^C
This device exists only in a simulation.
^C
!
line con 0
 exec-timeout 20 0
 stopbits 1
line vty 0 4
 exec-timeout 20 0
 password 7 094F471A1A0A
 transport input ssh
!
ntp authentication-key 1 md5 0505071D35481D0A 7
ntp server 192.0.2.123
!`
}

function accessPort(number: number): string {
  return `interface GigabitEthernet1/0/${number}
 description desk ${100 + number}
 switchport access vlan 10
 switchport mode access
 spanning-tree portfast
!`
}

export function frrConfiguration(hostname: string): string {
  return `!
frr version 8.4.4
frr defaults traditional
hostname ${hostname}
log syslog informational
log commands
service integrated-vtysh-config
!
enable password 8 kwMadeUpHash1
password kw-made-up-vty
!
ip route 0.0.0.0/0 198.51.100.9
ipv6 route ::/0 2001:db8:0:9::1
!
interface eth0
 description upstream
 ip address 198.51.100.10/30
 ip ospf authentication message-digest
 ip ospf message-digest-key 1 md5 kwMadeUpOspf
exit
!
interface eth1
 description servers
 ip address 203.0.113.1/24
 ip ospf passive
exit
!
router bgp 64513
 bgp router-id 198.51.100.10
 neighbor 198.51.100.9 remote-as 64500
 neighbor 198.51.100.9 password kwMadeUpBgp
 !
 address-family ipv4 unicast
  network 203.0.113.0/24
  neighbor 198.51.100.9 prefix-list OUT out
 exit-address-family
exit
!
router ospf
 ospf router-id 198.51.100.10
 network 198.51.100.8/30 area 0
 network 203.0.113.0/24 area 0
exit
!
ip prefix-list OUT seq 5 permit 203.0.113.0/24
!
route-map FROM-UPSTREAM permit 10
 set local-preference 200
exit
!`
}
