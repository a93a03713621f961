import type { NamedApplication, NamedNetwork } from '../contract/names.ts'
import { ApiError, type Caller, type Handlers } from '../handler.ts'
import { wire } from '../wire.ts'
import type { Write } from '../write.ts'

type ListName = 'networks' | 'applications'

interface NameList {
  entries: unknown[]
  version: number
  changedAt: Date | null
  changedBy: string | null
}

export function nameRoutes<Tx>(deps: {
  nameLists: {
    read(list: ListName): Promise<NameList>
    replace(
      tx: Tx,
      list: ListName,
      change: { entries: readonly unknown[]; version: number },
    ): Promise<NameList>
  }
  write: Write<Tx>
  /** They are to hold now, not when they are looked for next. */
  changed(): void
}): Handlers<'getNetworks' | 'setNetworks' | 'getApplications' | 'setApplications'> {
  async function replace(
    list: ListName,
    caller: Caller,
    change: { entries: readonly unknown[]; version: number },
  ) {
    const line = {
      action: `change ${list}`,
      subject: list,
      detail: { entries: change.entries.length },
    }
    const replaced = await deps.write(caller, line, tx => deps.nameLists.replace(tx, list, change))
    deps.changed()
    return replaced
  }

  return {
    async getNetworks() {
      return networksOf(await deps.nameLists.read('networks'))
    },
    async setNetworks({ body, caller }) {
      const { networks, version } = body
      refuseTwins(networks.map(({ prefix }) => prefix))
      return networksOf(await replace('networks', caller, { entries: networks, version }))
    },
    async getApplications() {
      return applicationsOf(await deps.nameLists.read('applications'))
    },
    async setApplications({ body, caller }) {
      const { applications, version } = body
      refuseTwins(applications.map(({ protocol, port }) => `${protocol}/${port}`))
      return applicationsOf(
        await replace('applications', caller, { entries: applications, version }),
      )
    },
  }
}

function networksOf({ entries, ...list }: NameList) {
  return { networks: entries as NamedNetwork[], ...wire(list) }
}

function applicationsOf({ entries, ...list }: NameList) {
  return { applications: entries as NamedApplication[], ...wire(list) }
}

function refuseTwins(keys: readonly string[]) {
  const twin = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twin !== undefined) throw new ApiError('bad-request', `${twin} is there twice`)
}
