-- The plan by which the gateway's own tool goes from version 1 to version 2, in Prisma's style, written from v2.catalog.
-- A step begins with "-- Step", a statement of it after an empty line.

-- Step 1: tables

CREATE TYPE "BenchmarkCategory" AS ENUM ('COMPENSATION', 'INFRASTRUCTURE', 'BUSINESS', 'OPERATIONAL');

CREATE TYPE "ResourceCategory" AS ENUM ('COLD_EMAIL', 'SALES_GTM', 'CUSTOMER_SERVICE', 'OPERATIONS', 'AGENCY_GROWTH');

CREATE TYPE "ResourceType" AS ENUM ('TEMPLATE', 'SOP', 'PLAYBOOK', 'COURSE', 'VIDEO');

CREATE TYPE "DiscordActivityType" AS ENUM ('MESSAGE', 'REACTION_GIVEN', 'REACTION_RECEIVED');

ALTER TABLE "Member" ADD COLUMN     "currentStreak" INTEGER NOT NULL DEFAULT 0;

ALTER TABLE "Member" ADD COLUMN     "lastActiveAt" TIMESTAMP(3);

ALTER TABLE "Member" ADD COLUMN     "totalPoints" INTEGER NOT NULL DEFAULT 0;

CREATE TABLE "BenchmarkSubmission" (
    "id" TEXT NOT NULL,
    "memberId" TEXT NOT NULL,
    "category" "BenchmarkCategory" NOT NULL,
    "data" JSONB NOT NULL,
    "isValid" BOOLEAN NOT NULL DEFAULT true,
    "submittedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "BenchmarkSubmission_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "Resource" (
    "id" TEXT NOT NULL,
    "title" TEXT NOT NULL,
    "description" TEXT NOT NULL,
    "category" "ResourceCategory" NOT NULL,
    "type" "ResourceType" NOT NULL,
    "fileUrl" TEXT NOT NULL,
    "thumbnailUrl" TEXT,
    "isFeatured" BOOLEAN NOT NULL DEFAULT false,
    "downloadCount" INTEGER NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "Resource_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "ResourceDownload" (
    "id" TEXT NOT NULL,
    "memberId" TEXT NOT NULL,
    "resourceId" TEXT NOT NULL,
    "downloadedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "ResourceDownload_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "PointTransaction" (
    "id" TEXT NOT NULL,
    "memberId" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "points" INTEGER NOT NULL,
    "metadata" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "PointTransaction_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "DiscordActivity" (
    "id" TEXT NOT NULL,
    "memberId" TEXT NOT NULL,
    "discordId" TEXT NOT NULL,
    "activityType" "DiscordActivityType" NOT NULL,
    "xpDelta" INTEGER,
    "xpTotal" INTEGER,
    "syncedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "DiscordActivity_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "BenchmarkSubmission_memberId_category_key" ON "BenchmarkSubmission"("memberId", "category");

-- Step 2: keys

ALTER TABLE "BenchmarkSubmission" ADD CONSTRAINT "BenchmarkSubmission_memberId_fkey" FOREIGN KEY ("memberId") REFERENCES "Member"("id") ON DELETE CASCADE ON UPDATE CASCADE NOT VALID;

ALTER TABLE "ResourceDownload" ADD CONSTRAINT "ResourceDownload_memberId_fkey" FOREIGN KEY ("memberId") REFERENCES "Member"("id") ON DELETE CASCADE ON UPDATE CASCADE NOT VALID;

ALTER TABLE "ResourceDownload" ADD CONSTRAINT "ResourceDownload_resourceId_fkey" FOREIGN KEY ("resourceId") REFERENCES "Resource"("id") ON DELETE CASCADE ON UPDATE CASCADE NOT VALID;

ALTER TABLE "PointTransaction" ADD CONSTRAINT "PointTransaction_memberId_fkey" FOREIGN KEY ("memberId") REFERENCES "Member"("id") ON DELETE CASCADE ON UPDATE CASCADE NOT VALID;

ALTER TABLE "DiscordActivity" ADD CONSTRAINT "DiscordActivity_memberId_fkey" FOREIGN KEY ("memberId") REFERENCES "Member"("id") ON DELETE CASCADE ON UPDATE CASCADE NOT VALID;

-- Step 3: validation

ALTER TABLE "BenchmarkSubmission" VALIDATE CONSTRAINT "BenchmarkSubmission_memberId_fkey";

ALTER TABLE "ResourceDownload" VALIDATE CONSTRAINT "ResourceDownload_memberId_fkey";

ALTER TABLE "ResourceDownload" VALIDATE CONSTRAINT "ResourceDownload_resourceId_fkey";

ALTER TABLE "PointTransaction" VALIDATE CONSTRAINT "PointTransaction_memberId_fkey";

ALTER TABLE "DiscordActivity" VALIDATE CONSTRAINT "DiscordActivity_memberId_fkey";

-- Step 4: Member_totalPoints_idx

CREATE INDEX CONCURRENTLY "Member_totalPoints_idx" ON "Member"("totalPoints" DESC);

-- Step 5: BenchmarkSubmission_memberId_idx

CREATE INDEX CONCURRENTLY "BenchmarkSubmission_memberId_idx" ON "BenchmarkSubmission"("memberId");

-- Step 6: BenchmarkSubmission_category_idx

CREATE INDEX CONCURRENTLY "BenchmarkSubmission_category_idx" ON "BenchmarkSubmission"("category");

-- Step 7: BenchmarkSubmission_data_idx

CREATE INDEX CONCURRENTLY "BenchmarkSubmission_data_idx" ON "BenchmarkSubmission"USING GIN ("data" jsonb_path_ops);

-- Step 8: Resource_category_idx

CREATE INDEX CONCURRENTLY "Resource_category_idx" ON "Resource"("category");

-- Step 9: Resource_type_idx

CREATE INDEX CONCURRENTLY "Resource_type_idx" ON "Resource"("type");

-- Step 10: Resource_isFeatured_idx

CREATE INDEX CONCURRENTLY "Resource_isFeatured_idx" ON "Resource"("isFeatured");

-- Step 11: ResourceDownload_memberId_idx

CREATE INDEX CONCURRENTLY "ResourceDownload_memberId_idx" ON "ResourceDownload"("memberId");

-- Step 12: ResourceDownload_resourceId_idx

CREATE INDEX CONCURRENTLY "ResourceDownload_resourceId_idx" ON "ResourceDownload"("resourceId");

-- Step 13: ResourceDownload_downloadedAt_idx

CREATE INDEX CONCURRENTLY "ResourceDownload_downloadedAt_idx" ON "ResourceDownload"("downloadedAt");

-- Step 14: PointTransaction_memberId_idx

CREATE INDEX CONCURRENTLY "PointTransaction_memberId_idx" ON "PointTransaction"("memberId");

-- Step 15: PointTransaction_action_idx

CREATE INDEX CONCURRENTLY "PointTransaction_action_idx" ON "PointTransaction"("action");

-- Step 16: PointTransaction_createdAt_idx

CREATE INDEX CONCURRENTLY "PointTransaction_createdAt_idx" ON "PointTransaction"("createdAt");

-- Step 17: DiscordActivity_memberId_idx

CREATE INDEX CONCURRENTLY "DiscordActivity_memberId_idx" ON "DiscordActivity"("memberId");

-- Step 18: DiscordActivity_discordId_idx

CREATE INDEX CONCURRENTLY "DiscordActivity_discordId_idx" ON "DiscordActivity"("discordId");

-- Step 19: DiscordActivity_syncedAt_idx

CREATE INDEX CONCURRENTLY "DiscordActivity_syncedAt_idx" ON "DiscordActivity"("syncedAt");

-- Step 20: trigger

CREATE OR REPLACE FUNCTION update_member_total_points()
RETURNS TRIGGER AS $$
BEGIN
  UPDATE "Member"
  SET "totalPoints" = "totalPoints" + NEW.points,
      "lastActiveAt" = NEW."createdAt",
      "updatedAt" = NOW()
  WHERE id = NEW."memberId";
  RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER trg_update_member_points
AFTER INSERT ON "PointTransaction"
FOR EACH ROW EXECUTE FUNCTION update_member_total_points();
