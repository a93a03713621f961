/**
 * `npm test [-- vitest arguments]`: installs what the suites need, then runs every suite that this
 * machine can run. What is skipped is said, with the reason, at the end.
 */
import { spawnSync } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { prepare, root } from './prepare.mjs'
import { installPrograms } from './programs.mjs'
import { unitTestsPassed } from './stamp.mjs'

/** Programs that some suites talk to, by the Debian package that brings them. */
const programs = {
  chromium: 'chromium',
  tshark: 'tshark',
  nfcapd: 'nfdump',
  snmpd: 'snmpd',
  snmptrap: 'snmp',
  sshd: 'openssh-server',
  vtysh: 'frr',
  ip: 'iproute2',
  arping: 'iputils-arping',
  ndisc6: 'ndisc6',
  ndptool: 'libndp-tools',
  tcpdump: 'tcpdump',
  named: 'bind9',
  nsupdate: 'bind9-dnsutils',
  aiosmtpd: 'python3-aiosmtpd',
  sshfs: 'sshfs',
  git: 'git',
}

await prepare()
const stillMissing = installPrograms(programs)
for (const program of stillMissing) {
  process.stdout.write(
    `note: ${program} (Debian package ${programs[program]}) is missing and could not be installed: its tests are skipped\n`,
  )
}

const asked = process.argv.slice(2)
const known = asked.length === 0 && unitTestsPassed().isThere()
if (known) {
  process.stdout.write(
    'note: the unit tests have passed in `npm run check`, for these very files: they are not run again\n',
  )
}
const bin = join(root, 'node_modules', '.bin')
const { status, signal } = spawnSync(
  join(bin, 'vitest'),
  [...['run', '--reporter=default', '--reporter=./test/skips.ts'], ...asked],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      PATH: `${bin}${delimiter}${process.env.PATH}`,
      ...(known ? { KEEPWATCH_UNIT_TESTS: 'passed' } : {}),
      // Suites start hundreds of programs: with this each starts in half the time.
      NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compile'),
    },
  },
)
process.exit(signal ? 1 : status)
