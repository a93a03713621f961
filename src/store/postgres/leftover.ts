/**
 * A PostgreSQL whose parent was killed goes on for a moment, or for ever where nothing binds it to
 * its parent. It holds the cluster: who starts the next one ends it first.
 */
import { execFile } from 'node:child_process'
import { readdir, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const pollMs = 50

/** The postmaster's pid by the cluster's own note, whether or not it still lives. */
async function notedPid(cluster: string): Promise<number | undefined> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number.parseInt(text, 10)
  return Number.isInteger(pid) && pid > 1 ? pid : undefined
}

/**
 * Ends what is left over in the cluster: fast shutdown for two thirds of the deadline, then hard.
 *
 * @param parent pid of the process that started the last one, if known
 * @returns how many processes were ended
 * @throws if that parent still lives (the cluster is in use), or something cannot be ended
 */
export async function endLeftover(
  cluster: string,
  parent: number | undefined,
  deadlineMs: number,
): Promise<number> {
  const postmaster = await notedPid(cluster)
  const found = await processesOf(cluster, postmaster)
  if (found.length > 0) {
    const head = found.find(one => one.pid === postmaster)
    if (parent !== undefined && head?.parent === parent) {
      throw new Error(`${cluster} is in use by process ${parent} (PostgreSQL ${head.pid})`)
    }
    if (head) signal(head.pid, 'SIGINT')
    const started = performance.now()
    let hard = head === undefined
    for (;;) {
      const left = await processesOf(cluster, postmaster)
      if (left.length === 0) break
      const waited = performance.now() - started
      if (waited > deadlineMs) {
        const pids = left.map(one => one.pid).join(', ')
        throw new Error(`${cluster} is held by processes that cannot be ended: ${pids}`)
      }
      if (waited > (deadlineMs * 2) / 3) hard = true
      if (hard) for (const one of left) signal(one.pid, 'SIGQUIT')
      await sleep(pollMs)
    }
  }
  // The number may belong to anybody by now (a container that restarted): PostgreSQL would refuse.
  if (postmaster !== undefined) await rm(join(cluster, 'postmaster.pid'), { force: true })
  return found.length
}

function signal(pid: number, name: NodeJS.Signals) {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** PostgreSQL's processes that work in the cluster (each has it as its working directory). */
async function processesOf(
  cluster: string,
  postmaster: number | undefined,
): Promise<{ pid: number; parent: number }[]> {
  if (process.platform !== 'linux') {
    return postmaster === undefined ? [] : askPs(cluster, postmaster)
  }
  const folder = await realpath(cluster).catch(() => undefined)
  if (folder === undefined) return []
  const found: { pid: number; parent: number }[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const place = await readlink(`/proc/${name}/cwd`).catch(() => undefined)
    if (place !== folder) continue
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '')
    if (!/^Name:\tpostgres$/m.test(status) || /^State:\tZ/m.test(status)) continue
    found.push({ pid: Number(name), parent: Number(/^PPid:\t(\d+)$/m.exec(status)?.[1]) })
  }
  return found
}

async function askPs(cluster: string, pid: number): Promise<{ pid: number; parent: number }[]> {
  const { stdout } = await execute('ps', ['-ww', '-o', 'ppid=,command=', '-p', `${pid}`]).catch(
    () => ({ stdout: '' }),
  )
  const parent = Number.parseInt(stdout, 10)
  return stdout.includes(cluster) && Number.isInteger(parent) ? [{ pid, parent }] : []
}
