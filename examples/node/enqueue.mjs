// Enqueue a job inside a transaction of your own: it exists if and only if that transaction commits.
//
//   npm ci
//   APP_DATABASE_URL=postgresql://headrace_producer:…@db.example.com/app node enqueue.mjs TENANT_ID 'Where is my parcel?'
//
// The URL is that of your own service; its role needs what headrace_producer has (docs/how-to/enqueue-from-sql.md).

import { pathToFileURL } from 'node:url'
import pg from 'pg'

const REFUSED = 'HR400' // the request is wrong: error.detail says which field, as JSON
const REPEAT = '40001' // above READ COMMITTED, as for any write: run the transaction again

/** Enqueue one job in the transaction that `client` has open; its id. Leave out what you do not need. */
export async function enqueue(client, { tenantId, userId, feature, messages, prompt, variables, idempotencyKey }) {
  const { rows } = await client.query(
    `select headrace.enqueue(tenant_id => $1::uuid, user_id => $2, feature => $3, messages => $4::jsonb,
                             prompt => $5, variables => $6::jsonb, idempotency_key => $7) as job_id`,
    [tenantId, userId, feature, json(messages), prompt, json(variables), idempotencyKey],
  )
  return rows[0].job_id
}

/** Run `work(client)` in one transaction and return what it returns; repeated when Postgres asks for that. */
export async function inTransaction(client, work, { isolation = 'read committed', tries = 10 } = {}) {
  for (let left = tries; ; left--) {
    await client.query(`begin isolation level ${isolation}`)
    try {
      const done = await work(client)
      await client.query('commit')
      return done
    } catch (error) {
      await client.query('rollback')
      if (error.code !== REPEAT || left === 1) throw error
    }
  }
}

function json(value) {
  return value === undefined ? null : JSON.stringify(value)
}

async function main([tenantId, text]) {
  const client = new pg.Client({ connectionString: process.env.APP_DATABASE_URL })
  await client.connect()
  try {
    const jobId = await inTransaction(client, async () => {
      // your own writes go here, in the same transaction
      return enqueue(client, {
        tenantId,
        userId: 'ada',
        feature: 'chat',
        messages: [{ role: 'user', content: text }],
      })
    })
    console.log(jobId)
  } catch (error) {
    if (error.code !== REFUSED) throw error
    const { code, field, message } = JSON.parse(error.detail)
    console.error(`refused: ${code} at ${field}: ${message}`)
    process.exitCode = 1
  } finally {
    await client.end()
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(process.argv.slice(2))
}
