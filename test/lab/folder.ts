/** The shared folder: a disk on a host of its own, which both servers mount over the lab's network. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { statfs, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Host } from './network.ts'

const execute = promisify(execFile)
const diskBytes = '256m'
const startDeadlineMs = 20_000
const megabyte = 1024 * 1024

export interface SharedFolder {
  readonly host: Host
  /** Where servers have it; the same path on both. */
  readonly path: string
  /** The folder's own disk, as its host sees it. */
  readonly disk: string
  /** Shell commands that put it there in the mount namespace of a server. */
  mounts(server: Host): string
  start(): Promise<void>
  /** Whoever touches it waits. */
  hang(): Promise<void>
  full(): Promise<void>
  readOnly(): Promise<void>
  /** One server finds an empty folder there. */
  unmount(server: Host): Promise<void>
  heal(): Promise<void>
  stop(): Promise<void>
}

export function createSharedFolder(
  host: Host,
  servers: readonly Host[],
  labFolder: string,
): SharedFolder {
  const disk = join(labFolder, 'folder', 'disk')
  const view = join(labFolder, 'mnt')
  const at = (name: string) => join(labFolder, 'folder', name)
  const mountOf = (server: Host) => join(labFolder, `${server.name}-mnt`)
  const ballast = join(disk, '.ballast')
  let sshd: ChildProcess | undefined
  const mounted = new Map<Host, ChildProcess>()

  async function mount(server: Host) {
    const target = join(mountOf(server), 'shared')
    // The network of the server, the mounts of the tests: they reach into the server's by propagation.
    const transport = `ip netns exec ${server.namespace} ssh -F ${at('ssh_config')}`
    const sshfs = spawn(
      'sshfs',
      [
        ...['-f', `root@folder:${disk}`, target],
        ...['-o', `ssh_command=${transport}`],
        ...['-o', 'reconnect,ServerAliveInterval=2,ServerAliveCountMax=2'],
        ...['-o', 'dir_cache=no,attr_timeout=0,entry_timeout=0,max_conns=1'],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    )
    mounted.set(server, sshfs)
    await until(`${server.name} has mounted the shared folder`, () =>
      readFileSync('/proc/self/mounts', 'utf8').includes(` ${target} `),
    )
  }

  async function unmount(server: Host) {
    const sshfs = mounted.get(server)
    if (!sshfs) return
    mounted.delete(server)
    await execute('umount', ['-l', join(mountOf(server), 'shared')]).catch(() => {})
    if (sshfs.exitCode !== null || sshfs.signalCode !== null) return
    const ended = once(sshfs, 'exit')
    sshfs.kill('SIGKILL')
    await ended
  }

  return {
    host,
    disk,
    path: join(view, 'shared'),
    mounts: server => `mount --rbind ${mountOf(server)} ${view}`,
    async start() {
      for (const folder of [disk, view]) mkdirSync(folder, { recursive: true })
      await execute('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes}`, 'kwlab', disk])
      mkdirSync('/run/sshd', { recursive: true })
      for (const key of ['host_key', 'client_key']) {
        await execute('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(key)])
      }
      writeFileSync(
        at('sshd_config'),
        [
          `HostKey ${at('host_key')}`,
          `AuthorizedKeysFile ${at('client_key.pub')}`,
          'StrictModes no',
          'PermitRootLogin yes',
          'UsePAM no',
          'PidFile none',
          'Subsystem sftp internal-sftp',
          '',
        ].join('\n'),
      )
      writeFileSync(
        at('ssh_config'),
        [
          `IdentityFile ${at('client_key')}`,
          'StrictHostKeyChecking no',
          'UserKnownHostsFile /dev/null',
          'LogLevel ERROR',
          'ConnectTimeout 5',
          '',
        ].join('\n'),
      )
      sshd = host.spawn('/usr/sbin/sshd', ['-D', '-e', '-f', at('sshd_config')], {
        stdio: 'ignore',
      })
      await until('sshd answers', () => answers(host.management, 22))
      for (const server of servers) {
        const target = mountOf(server)
        mkdirSync(join(target, 'shared'), { recursive: true })
        await execute('mount', ['--bind', target, target])
        await execute('mount', ['--make-shared', target])
        await mount(server)
      }
    },
    hang: () => host.signalAll('SIGSTOP'),
    async full() {
      const { bavail, bsize } = await statfs(disk)
      const chunk = Buffer.alloc(megabyte, 1)
      const parts = Array.from({ length: Math.ceil((bavail * bsize) / megabyte) }, () => chunk)
      await writeFile(ballast, parts).catch(error => {
        if (error.code !== 'ENOSPC') throw error
      })
    },
    async readOnly() {
      await execute('mount', ['-o', 'remount,ro', disk])
    },
    unmount,
    async heal() {
      await host.heal()
      await host.signalAll('SIGCONT')
      if (!existsSync(disk)) return
      await execute('mount', ['-o', 'remount,rw', disk])
      rmSync(ballast, { force: true })
      for (const server of servers) if (!mounted.has(server)) await mount(server)
    },
    async stop() {
      for (const server of servers) await unmount(server)
      if (sshd && sshd.exitCode === null && sshd.signalCode === null) {
        const ended = once(sshd, 'exit')
        await host.signalAll('SIGKILL')
        await ended
      }
    },
  }
}

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + startDeadlineMs
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`not within ${startDeadlineMs} ms: ${what}`)
    await sleep(50)
  }
}

function answers(address: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: address, port, timeout: 1000 })
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
  })
}
