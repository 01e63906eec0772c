// Writes a row to each table by Prisma's client, reads it back through its relations, and prints what it read.
// Usage: node prisma_round.cjs FOLDER, where FOLDER has node_modules and the generated client; DATABASE_URL says where.
const path = require("node:path");
const { createRequire } = require("node:module");
const folder = path.resolve(process.argv[2]);
const from = createRequire(path.join(folder, "package.json"));
const { PrismaClient } = from("./client");
const { PrismaPg } = from("@prisma/adapter-pg");

async function main() {
  const url = new URL(process.env.DATABASE_URL.replace("@/", "@localhost/"));
  const adapter = new PrismaPg({
    host: url.searchParams.get("host"),
    port: Number(url.searchParams.get("port") || 5432),
    user: url.username,
    database: url.pathname.slice(1),
  });
  const prisma = new PrismaClient({ adapter });
  const moment = new Date("2026-03-04T05:06:07.089Z");
  const team = await prisma.team.create({ data: { name: "Acme", stripeCustomerId: "cus_1", paymentFailedAt: moment } });
  const member = await prisma.member.create({
    data: { email: "mia@acme.example", teamId: team.id, subscriptionStatus: "ACTIVE", seatTier: "OWNER" },
  });
  await prisma.pendingInvite.create({
    data: { teamId: team.id, seatTier: "TEAM_MEMBER", token: "secret", createdBy: member.id },
  });
  await prisma.admin.create({ data: { email: "ada@council.example", passwordHash: "-", role: "SUPER_ADMIN" } });
  await prisma.featureFlag.create({ data: { key: "flag" } });
  await prisma.emailTemplate.create({ data: { name: "welcome", subject: "Hello", body: "Text" } });
  await prisma.stripeEvent.create({ data: { eventId: "evt_1", type: "invoice.paid", payload: { a: [1, null] } } });
  await prisma.auditLog.create({ data: { action: "LOGIN", entityType: "Member", entityId: member.id } });
  await prisma.reconciliationRun.create({ data: { triggeredBy: "cron" } });
  const paid = await prisma.pointTransaction.create({
    data: { memberId: member.id, action: "intro_completed", points: 25 },
  });
  await prisma.pointTransaction.create({
    data: { memberId: member.id, action: "intro_completed", points: -25, reversesId: paid.id },
  });
  await prisma.discordActivity.create({ data: { memberId: member.id, discordId: "1", activityType: "MESSAGE" } });
  const resource = await prisma.resource.create({
    data: {
      title: "Guide",
      description: "What it is good for.",
      category: "COLD_EMAIL",
      type: "TEMPLATE",
      fileUrl: "https://files.example.com/guide.pdf",
    },
  });
  await prisma.resourceDownload.create({ data: { memberId: member.id, resourceId: resource.id } });
  await prisma.benchmarkSubmission.create({
    data: { memberId: member.id, category: "COMPENSATION", data: { gtm_engineer_us: 100000 } },
  });
  await prisma.member.update({ where: { id: member.id }, data: { jobTitle: "Founder" } });
  const read = await prisma.member.findUniqueOrThrow({
    where: { email: "mia@acme.example" },
    include: {
      team: { include: { pendingInvites: true } },
      pointTransactions: { include: { reversals: true }, orderBy: { points: "desc" } },
      discordActivities: true,
      resourceDownloads: { include: { resource: true } },
      benchmarkSubmissions: true,
    },
  });
  const counts = {};
  for (const model of ["admin", "featureFlag", "emailTemplate", "stripeEvent", "auditLog", "reconciliationRun"]) {
    counts[model] = await prisma[model].count();
  }
  console.log(
    JSON.stringify({
      id: read.id,
      jobTitle: read.jobTitle,
      totalPoints: read.totalPoints,
      notifications: read.sentBillingNotifications,
      moved: read.updatedAt > member.updatedAt,
      paymentFailedAt: read.team.paymentFailedAt,
      invite: read.team.pendingInvites[0].token,
      points: read.pointTransactions.map((row) => row.points),
      reversals: read.pointTransactions[0].reversals.length,
      key: (await prisma.pointTransaction.findUnique({ where: { id: paid.id } })).idempotencyKey,
      downloads: read.resourceDownloads.map((row) => row.resource.title),
      status: resource.status,
      submission: read.benchmarkSubmissions[0].data,
      activities: read.discordActivities.length,
      counts,
    }),
  );
  await prisma.$disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
