/** How systemd is to run a server. */
import { execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { writeWhole } from '../../lib/files.ts'
import { homeOf } from '../upgrade/home.ts'

export const unitFolder = '/etc/systemd/system'
const unitName = 'keepwatch.service'

/** The program as a person or systemd starts it, beside the sources as beside the compiled program. */
const ownProgram = resolve(import.meta.dirname, '../../../bin/keepwatch.mjs')

/** @param unit.user undefined: root */
export function unitText(
  unit: { name: string; settings: string; dataDir: string; user: string | undefined },
  own = { node: process.execPath, program: ownProgram },
): string {
  const capabilities = 'CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW'
  const rights =
    unit.user === undefined
      ? []
      : [
          `User=${unit.user}`,
          // The virtual address, and ports below 1024.
          `AmbientCapabilities=${capabilities}`,
          `CapabilityBoundingSet=${capabilities}`,
          'NoNewPrivileges=true',
        ]
  return `${[
    '[Unit]',
    `Description=Keepwatch server ${unit.name}`,
    'After=network-online.target',
    'Wants=network-online.target',
    // A server that cannot start yet is tried again for ever: its database may come later.
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    `ExecStart=${startCommand(unit.settings, own)}`,
    `WorkingDirectory=${unit.dataDir}`,
    'Restart=always',
    'RestartSec=1',
    // Only the first process is asked to stop: it hands over and stops the others itself.
    'KillMode=mixed',
    'TimeoutStopSec=30',
    'LimitNOFILE=65536',
    ...rights,
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  ].join('\n')}\n`
}

/** How a server is run: where versions lie beside each other by the launcher, which may change it. */
export function startCommand(
  settings: string,
  { node, program } = { node: process.execPath, program: ownProgram },
): string {
  const home = homeOf(program)
  const how =
    home === undefined
      ? `${quoted(node)} ${quoted(program)}`
      : `${quoted(`${home}/bin/keepwatch`)} launch --home ${quoted(home)}`
  return `${how} server --settings ${quoted(settings)}`
}

/** What the service's user must be able to write, so that the other server can upgrade this one. */
export function foldersToUpgrade(program = ownProgram): string[] {
  const home = homeOf(program)
  return home === undefined ? [] : [home, join(home, 'versions')]
}

/** @returns the file, and the command that starts it now and at each boot */
export function writeUnit(folder: string, text: string): { file: string; command: string } {
  const file = join(folder, unitName)
  writeWhole(file, text, 0o644)
  const reload = folder === unitFolder ? 'systemctl daemon-reload && ' : ''
  return { file, command: `${reload}systemctl enable --now ${unitName.replace(/\.service$/, '')}` }
}

/** @throws Error if there is no such user */
export function accountOf(user: string): { uid: number; gid: number } {
  const number = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  try {
    return { uid: number('-u'), gid: number('-g') }
  } catch {
    throw new Error(`there is no user ${user}: make it with useradd --system ${user}`)
  }
}

function quoted(path: string): string {
  return /\s/.test(path) ? JSON.stringify(path) : path
}
