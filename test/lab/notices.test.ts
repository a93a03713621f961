/** The mails of a pair, counted where they arrive. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { hasSmtpServer } from '../notify/smtp-server.ts'
import type { Lab } from './lab.ts'
import { quick, scenarios } from './scenario.ts'

const recipients = ['operator@example.net', 'chief@example.net']
const arriveMs = 60_000

/** How many mails about a takeover each recipient has. */
function takeoverMails(lab: Lab, from: number): Map<string, number> {
  const count = new Map(recipients.map(recipient => [recipient, 0]))
  for (const { to, headers } of lab.mailbox!.taken.slice(from)) {
    if (!/took over|takeover/i.test(headers.Subject ?? '')) continue
    for (const recipient of to) count.set(recipient, (count.get(recipient) ?? 0) + 1)
  }
  return count
}

async function untilEachHas(lab: Lab, from: number, many: number) {
  const deadline = performance.now() + arriveMs
  for (;;) {
    const have = takeoverMails(lab, from)
    if (recipients.every(recipient => have.get(recipient)! >= many)) break
    if (performance.now() > deadline) {
      const subjects = lab.mailbox!.taken.slice(from).map(({ headers }) => headers.Subject)
      throw new Error(
        `takeover mails: ${JSON.stringify([...have])}; all that came: ${subjects.join('; ')}`,
      )
    }
    await sleep(100)
  }
  // One too many would come now.
  await sleep(2000)
  expect([...takeoverMails(lab, from).values()]).toEqual(recipients.map(() => many))
  expect(lab.mailbox!.violations()).toEqual([])
}

scenarios(
  'a pair that tells people by mail',
  { ...quick, mailTo: recipients, needs: hasSmtpServer ? [] : ['aiosmtpd'] },
  scenario => {
    scenario('each recipient has one mail about a takeover, sent by the new active', async lab => {
      const from = lab.mailbox!.taken.length
      const killed = await lab.active()
      killed.kill()
      await lab.untilActive({ except: killed })
      await untilEachHas(lab, from, 1)
    })

    scenario(
      'has it once the mail server is there again, and once',
      async lab => {
        const from = lab.mailbox!.taken.length
        await lab.mailbox!.stop()
        const killed = await lab.active()
        killed.kill()
        await lab.untilActive({ except: killed })
        await sleep(3000)
        await lab.mailbox!.start()
        await untilEachHas(lab, from, 1)
      },
      { long: true },
    )

    scenario(
      'has no mail twice when active after active is killed while it sends',
      async lab => {
        for (let round = 0; round < 3; round++) {
          const active = await lab.active()
          active.kill()
          await lab.untilActive({ except: active })
          await sleep(50 * round)
          lab.other(active).kill()
          await lab.settled()
        }
        await sleep(5000)
        expect(lab.mailbox!.violations()).toEqual([])
      },
      { long: true },
    )
  },
)
