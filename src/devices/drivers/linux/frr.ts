import { defineDriver } from '../driver.ts'

/**
 * The files that make up a Linux host's network, one after the other, each under its name. Missing
 * and unreadable ones are left out; the host is no subject if none is there.
 */
const networkFiles =
  'found=1; for f in' +
  ' /etc/hostname /etc/frr/frr.conf /etc/frr/daemons' +
  ' /etc/network/interfaces /etc/network/interfaces.d/* /etc/netplan/*.yaml' +
  ' /etc/systemd/network/*.network /etc/systemd/network/*.netdev' +
  ' /etc/NetworkManager/system-connections/* /etc/sysconfig/network-scripts/ifcfg-*' +
  ' /etc/nftables.conf /etc/iptables/rules.v4 /etc/iptables/rules.v6' +
  ' /etc/wireguard/*.conf /etc/resolv.conf /etc/sysctl.d/*.conf;' +
  ' do if [ -f "$f" ] && [ -r "$f" ]; then' +
  ' printf \'### %s\\n\' "$f"; cat -- "$f" || exit 2; echo; found=0; fi; done; exit $found'

/**
 * A Linux host with FRRouting, or without: every command is a program of its own, its exit status
 * proves that it ended well. Who may run vtysh is decided on the host (group frrvty).
 *
 * FRR has no message of its own for a change. With `log commands` every command is logged with
 * its mode, though not with its user; sudo says who called vtysh.
 */
export const frr = defineDriver({
  id: 'linux-frr',
  vendor: 'FRRouting',
  system: 'Linux',
  channel: 'exec',
  artefacts: [
    {
      name: 'running',
      ways: [
        { command: "vtysh -c 'show running-config'", end: /^end$/, minBytes: 40 },
        { command: networkFiles, minBytes: 10 },
      ],
      timeoutMs: 120_000,
    },
  ],
  errors: [/^% (?:Unknown|Ambiguous|Incomplete|Command incomplete|There is no matched)/i],
  noise: [],
  normalise: {
    drop: [/^Building configuration\.\.\.$/, /^Current configuration:$/],
    ignore: [],
    lift: [],
  },
  secrets: [
    /^\s*(?:enable )?password(?: 8)? (?<secret>\S.*)$/d,
    /^\s*neighbor \S+ password (?<secret>\S.*)$/d,
    /\bauthentication-key (?<secret>\S+)/d,
    /\bmessage-digest-key \d+ md5 (?<secret>\S+)/d,
    /^\s*(?:isis|domain|area)[ -]password (?:clear|md5) (?<secret>\S+)/d,
    /^\s*ip rip authentication string (?<secret>\S+)/d,
    /^\s*(?:ip eigrp authentication )?key-string (?<secret>\S.*)$/d,
    /^\s*(?:PrivateKey|PresharedKey|PrivateKeyFile|Password|PSK)\s*=\s*(?<secret>\S.*)$/di,
    /^\s*(?:psk|password|wep-key\d|wpa-(?:psk|passphrase)|wireless-key|private-key|preshared-key|secret|community)\s*[:=]?\s+(?<secret>\S.*)$/di,
    /^\s*(?:psk|password|wep-key\d|private-key|preshared-key|secret)=(?<secret>\S.*)$/di,
  ],
  change: {
    syslog: [
      // FRR `log commands`, in a configuration mode only: reading the configuration is logged too.
      /\bvty\[\d+\]@(?<from>[\w.:-]*)\(config[^)]{0,64}\)# (?!exit|end|quit)\S/,
      /\bsudo(?:\[\d+\])?:\s+(?<user>\S+) : .{0,300}COMMAND=\S*vtysh\b(?=.*-c '?conf)/,
      /(?:Integrated c|C)onfiguration saved\b(?:.{0,80}? by (?<user>[\w.@-]+))?/,
      /Successful change to active configuration by user (?<user>\S+)/,
      /\bConfigured from \S+ by (?<user>\S+)(?: on \S+(?: \((?<from>[^)]{1,64})\))?)?/,
    ],
  },
  structure: 'files',
})
