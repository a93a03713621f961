/**
 * `npm run bench:failover` and `npm run soak`: install what they need, then run a program of the lab
 * (network namespaces: Linux, root). The programs explain their options.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { join } from 'node:path'
import { pinnedNode, prepare, root } from './prepare.mjs'
import { installPrograms } from './programs.mjs'

const programs = {
  'bench:failover': {
    file: join('test', 'bench', 'failover', 'failover.ts'),
    needs: { keepalived: 'keepalived', zabbix_server: 'zabbix-server-pgsql' },
    without: 'not measured beside this pair',
  },
  soak: {
    file: join('test', 'lab', 'soak.ts'),
    needs: { sshfs: 'sshfs', sshd: 'openssh-server' },
    without: 'its faults are left out',
  },
}
const [name, ...args] = process.argv.slice(2)
const program = programs[name]

await prepare({ console: false })
const lab = {
  ip: 'iproute2',
  nft: 'nftables',
  tcpdump: 'tcpdump',
  arping: 'iputils-arping',
  curl: 'curl',
  ethtool: 'ethtool',
  python3: 'python3',
}
for (const missing of installPrograms({ ...lab, ...program.needs })) {
  process.stderr.write(
    `${name}: ${missing} is missing and could not be installed: ${program.without}\n`,
  )
}
const child = spawn(
  pinnedNode(),
  ['--disable-warning=ExperimentalWarning', join(root, program.file), ...args],
  { cwd: root, stdio: ['inherit', 'inherit', 'inherit', 'ipc'] },
)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code))
