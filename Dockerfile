# syntax=docker/dockerfile:1
# One image for every Stepback process; docker-compose.yml says which command each service runs.

# Python 3.12 is the newest, and linux/amd64 the only platform, that every locked file has a wheel for.
# What is locked, held against its hashes, and Stepback itself: all that the image is installed from.
FROM python:3.12-slim AS wheels
WORKDIR /build
COPY requirements.lock ./
RUN pip download --require-hashes --only-binary :all: --dest /wheels --requirement requirements.lock
RUN pip install --no-index --find-links /wheels hatchling
COPY pyproject.toml README.md LICENSE ./
COPY dashboards/ dashboards/
COPY ledger/ ledger/
COPY producers/ producers/
COPY sql/ sql/
COPY stepback/ stepback/
COPY worker/ worker/
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.12-slim
# Of the locked files only those that Stepback needs: the tools of its development stay behind.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels stepback-pg
# A volume mounted here is made with this owner; the key in it is refused if others can read it.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin stepback \
    && install --directory --owner=stepback --mode=0700 /var/lib/stepback
ENV STEPBACK_DATA=/var/lib/stepback
# A stepback.toml is looked for here.
WORKDIR /etc/stepback
USER stepback
ENTRYPOINT ["stepback"]
CMD ["--help"]
