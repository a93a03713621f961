import { defineDriver } from '../driver.ts'

/**
 * Cisco IOS and IOS XE.
 *
 * `show running-config` ends with the line `end`; its header says who changed it last. A log line
 * may be written into a terminal that has `terminal monitor` on by default (the console).
 */
export const ios = defineDriver({
  id: 'cisco-ios',
  vendor: 'Cisco',
  system: 'IOS / IOS XE',
  channel: 'shell',
  shell: {
    terminal: { columns: 511, rows: 24 },
    lineEnd: '\n',
    prompt: {
      any: /^[\w.@()/:-]{1,63}[>#]\s?$/,
      // In a configuration mode the host name is cut to 20 characters.
      stem: /^[\w.@/:-]+/,
      stemMax: 16,
      privileged: /#\s?$/,
    },
    dialogues: [
      { when: /press (?:return|any key)/i, send: '\n' },
      { when: /\(yes\/no\)\??:?\s?$|\[yes\/no\]:?\s?$/i, send: 'no\n' },
    ],
    pager: [{ when: /^\s*<?-{2,}\s?\(?more\)?.*-{2,}>?\s*$/i, send: ' ' }],
    enable: {
      command: 'enable',
      ask: /password:\s*$/i,
      refused: /^% ?(?:Access denied|Bad secrets|Bad passwords|Error in authentication)/i,
    },
    setup: ['terminal length 0', 'terminal width 0'],
    teardown: ['exit'],
  },
  artefacts: [
    {
      name: 'running',
      ways: [{ command: 'show running-config', end: /^end$/, minBytes: 200 }],
      timeoutMs: 120_000,
    },
  ],
  errors: [
    /^\s*% ?(?:Invalid|Incomplete|Ambiguous|Unknown|Unrecognized)\b/i,
    /^%? ?(?:Command authorization|Authorization) failed/i,
    /^% ?(?:Configuration buffer full|Non-Volatile (?:memory|configuration memory) is in use)/i,
    /^%Error /,
    /^(?:Permission denied|Command rejected)/i,
  ],
  noise: [
    // [seq: ][*.]time: %FACILITY-severity-MNEMONIC: at the start of a line, or written into one.
    /[*.]?\w{3} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [\w+-]{1,10})?: %[A-Z][\w-]*-[0-7]-[A-Z\d_]+:/,
    /^(?:\d{1,10}: )?(?:[\d:wdhy.]{3,20}: )?%[A-Z][\w-]*-[0-7]-[A-Z\d_]+:/,
  ],
  normalise: {
    drop: [
      /^Building configuration\.\.\.$/,
      /^Current configuration ?:/,
      /^Using \d+ out of \d+ bytes/,
      /^Load for five secs/,
      /^Time source is /,
      /^No time source/,
      /^ntp clock-period /,
    ],
    ignore: [
      /^! Last configuration change at /,
      /^! NVRAM config last updated at /,
      /^! No configuration change since last restart/,
      // The current value of a monitored expression, and what auto-bandwidth measured.
      /^ {1,2}expression \d+$/,
      /^ tunnel mpls traffic-eng bandwidth\s+\d/,
    ],
    lift: [/^! Last configuration change at (?<at>.{1,60}?)(?: by (?<user>\S+))?$/],
  },
  secrets: [
    /^\s*enable (?:secret|password)(?: level \d+)?(?: \d)? (?<secret>\S.*)$/d,
    /^\s*username \S+.*? (?:secret|password)(?: \d)? (?<secret>\S.*)$/d,
    /^\s*(?:common-criteria-policy \S+ )?password(?: \d)? (?!encryption aes)(?<secret>\S.*)$/d,
    /^\s*snmp-server community (?<secret>\S+)/d,
    /^\s*snmp-server host \S+(?: vrf \S+)?(?: (?:informs|traps))?(?: version (?:1|2c))? (?!version )(?<secret>\S+)/d,
    /^\s*snmp-server user .* auth (?:md5|sha(?:-\d+)?) (?<secret>\S+)/d,
    /^\s*snmp-server user .* priv (?:des|3des|aes)?(?: ?\d+)? ?(?<secret>\S+)(?: access .*)?$/d,
    /^\s*(?:tacacs-server|radius-server)\b.* key(?: \d)? (?<secret>\S.*)$/d,
    /^\s*server-private \S+.* key(?: \d)? (?<secret>\S.*)$/d,
    /^\s*(?:client \S+.* )?server-key(?: \d)? (?<secret>\S.*)$/d,
    // A key's number in a key chain is up to three digits long; anything longer is a key.
    /^\s+key (?:\d )?(?!\d{1,3}$)(?<secret>\S.*)$/d,
    /^\s*key-string(?: \d)? (?<secret>\S.*)$/d,
    /^\s*crypto isakmp key(?: \d)? (?<secret>\S+) (?:address|hostname)/d,
    /^\s*pre-shared-key .*?(?:key|local|remote)?(?: \d)? ?(?<secret>\S+)$/d,
    /\bauthentication-key(?: \d{1,5} md5)?(?: \d)? (?<secret>\S+)/d,
    /\bmessage-digest-key \d+ md5(?: \d)? (?<secret>\S+)/d,
    /^\s*(?:isis|domain|area)[ -]password(?: \d)? (?<secret>\S+)/d,
    /^\s*neighbor \S+ password(?: \d)? (?<secret>\S.*)$/d,
    /^\s*(?:standby|vrrp|glbp)\b.* authentication(?: (?:text|md5 key-string))?(?: \d)? (?!md5 key-chain)(?<secret>\S+)/d,
    /^\s*ppp (?:chap|pap)\b.* password(?: \d)? (?<secret>\S.*)$/d,
    /^\s*(?:security )?wpa(?:-psk| psk set-key) (?:ascii|hex)(?: \d)? (?<secret>\S+)/d,
    /^\s*(?:dot1x|vpdn) username \S+ password(?: \d)? (?<secret>\S+)/d,
    /^\s*mgmtuser .* password(?: \d)? (?<secret>\S+)/d,
    /^\s*mgmtuser .* secret(?: \d)? (?<secret>\S+)/d,
    /^\s*ip (?:ftp|http client) password(?: \d)? (?<secret>\S+)/d,
    /^\s*cable shared-secret(?: \d)? (?<secret>\S+)/d,
    /^\s*ldap-login-password(?: \d)? (?<secret>\S+)/d,
  ],
  change: {
    syslog: [
      /%SYS-(?:SW\d+-)?5-CONFIG_I: Configured from \S+ by (?<user>\S+)(?: on \S+(?: \((?<from>[^)]{1,64})\))?)?/,
      /%SYS-5-CONFIG_P: Configured programmatically by process .{1,80}? from \S+ as (?<user>\S+)/,
      /%DMI-5-CONFIG_I: .{0,80}Configured from \S+ by (?<user>[^\s,]+)/,
      /%PARSER-5-CFGLOG_LOGGEDCMD: User:(?<user>\S+)\s+logged command:/,
    ],
  },
  structure: 'indent',
})
