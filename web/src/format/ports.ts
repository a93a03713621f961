/** Names of well-known ports and protocols, for reading only: IANA registries and common use. */

const ports: Record<number, string> = {
  7: 'echo',
  20: 'ftp-data',
  21: 'ftp',
  22: 'ssh',
  23: 'telnet',
  25: 'smtp',
  49: 'tacacs',
  53: 'dns',
  67: 'dhcp',
  68: 'dhcp',
  69: 'tftp',
  80: 'http',
  88: 'kerberos',
  110: 'pop3',
  111: 'rpcbind',
  119: 'nntp',
  123: 'ntp',
  135: 'msrpc',
  137: 'netbios-ns',
  138: 'netbios-dgm',
  139: 'netbios-ssn',
  143: 'imap',
  161: 'snmp',
  162: 'snmp-trap',
  179: 'bgp',
  389: 'ldap',
  443: 'https',
  445: 'smb',
  464: 'kpasswd',
  465: 'smtps',
  500: 'isakmp',
  514: 'syslog',
  515: 'lpd',
  520: 'rip',
  546: 'dhcpv6',
  547: 'dhcpv6',
  554: 'rtsp',
  587: 'submission',
  631: 'ipp',
  636: 'ldaps',
  646: 'ldp',
  830: 'netconf',
  853: 'dns-tls',
  873: 'rsync',
  902: 'vmware',
  989: 'ftps-data',
  990: 'ftps',
  993: 'imaps',
  995: 'pop3s',
  1080: 'socks',
  1194: 'openvpn',
  1433: 'mssql',
  1521: 'oracle',
  1701: 'l2tp',
  1723: 'pptp',
  1812: 'radius',
  1813: 'radius-acct',
  1883: 'mqtt',
  2049: 'nfs',
  2055: 'netflow',
  2181: 'zookeeper',
  2379: 'etcd',
  3128: 'proxy',
  3268: 'global-catalog',
  3306: 'mysql',
  3389: 'rdp',
  3478: 'stun',
  3784: 'bfd',
  4500: 'ipsec-nat',
  4739: 'ipfix',
  4789: 'vxlan',
  5060: 'sip',
  5061: 'sips',
  5201: 'iperf3',
  5222: 'xmpp',
  5353: 'mdns',
  5355: 'llmnr',
  5432: 'postgresql',
  5601: 'kibana',
  5671: 'amqps',
  5672: 'amqp',
  5900: 'vnc',
  5985: 'winrm',
  5986: 'winrm-tls',
  6081: 'geneve',
  6343: 'sflow',
  6379: 'redis',
  6443: 'kubernetes',
  6514: 'syslog-tls',
  6881: 'bittorrent',
  8000: 'http-alt',
  8080: 'http-alt',
  8123: 'clickhouse',
  8443: 'https-alt',
  8883: 'mqtts',
  9000: 'clickhouse',
  9042: 'cassandra',
  9090: 'prometheus',
  9092: 'kafka',
  9100: 'jetdirect',
  9200: 'elasticsearch',
  9418: 'git',
  10050: 'zabbix',
  11211: 'memcached',
  25565: 'minecraft',
  27017: 'mongodb',
  51820: 'wireguard',
}

const protocols: Record<number, string> = {
  0: 'HOPOPT',
  1: 'ICMP',
  2: 'IGMP',
  4: 'IPv4',
  6: 'TCP',
  17: 'UDP',
  41: 'IPv6',
  46: 'RSVP',
  47: 'GRE',
  50: 'ESP',
  51: 'AH',
  58: 'ICMPv6',
  88: 'EIGRP',
  89: 'OSPF',
  103: 'PIM',
  112: 'VRRP',
  115: 'L2TP',
  132: 'SCTP',
  136: 'UDP-Lite',
}

const formats: Record<number, string> = {
  5: 'NetFlow v5',
  7: 'NetFlow v7',
  9: 'NetFlow v9',
  10: 'IPFIX',
  105: 'sFlow v5',
}

function portName(port: number): string | undefined {
  return ports[port]
}

function protocolName(protocol: number): string | undefined {
  return protocols[protocol]
}

export function formatName(version: number): string {
  return formats[version] ?? `format ${version}`
}

/**
 * What stands beside a raw value of a dimension to make it readable: the service of a port, the
 * name of a protocol or format, the meaning of zero. Undefined where the value speaks for itself.
 */
export function meaningOf(dimension: string, value: string): string | undefined {
  const number = Number(value)
  switch (dimension) {
    case 'src.port':
    case 'port':
    case 'dst.port':
      return portName(number)
    case 'protocol':
      return protocolName(number)
    case 'version':
      return formats[number]
    case 'in.if':
    case 'out.if':
      return value === '0' ? 'not said' : undefined
    case 'src.as':
    case 'dst.as':
      return value === '0'
        ? 'not said'
        : number >= 64_512 && number <= 65_534
          ? 'private'
          : undefined
    case 'src.vlan':
    case 'dst.vlan':
      return value === '0' ? 'untagged' : undefined
    case 'next.hop':
      return value === '::' || value === '0.0.0.0' ? 'not said' : undefined
    default:
      return undefined
  }
}
